#include "recipes/preference_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "recipes/internal/preference.h"
#include "tests/base/temp_folder.h"

namespace sluice::recipes {
namespace {

using internal::check_preference;
using internal::read_preference;
using learner::PreferenceType;

Json table(const char* loss, const Json& keys = Json::object()) {
  Json json = {{"loss", loss},
               {"beta", nullptr},
               {"label_smoothing", nullptr},
               {"gamma", nullptr},
               {"alpha", nullptr},
               {"tau", nullptr},
               {"sft_weight", nullptr},
               {"divergence", "reverse-kl"},
               {"divergence_alpha", 0.5},
               {"ld_alpha", 1.0},
               {"wpo", false},
               {"nll_over_prompt", false},
               {"desirable_weight", 1.0},
               {"undesirable_weight", 1.0},
               {"mix_every", 0},
               {"mix_alpha", 0.6},
               {"held_out", 0},
               {"truncation", "keep-start"}};
  json.update(keys);
  return json;
}

TEST(PreferenceSpec, HasTheDefaultsOfEveryLossThatItNames) {
  for (const auto& name : internal::preference_losses()) {
    SCOPED_TRACE(name);
    const auto spec = read_preference(table(name.c_str()));
    EXPECT_NO_THROW(check_preference(spec, "s", /*has_adapters=*/false, /*examples_per_step=*/2));
    EXPECT_EQ(spec.judged(), name == "kto" || name == "apo_zero_unpaired");
    if (!spec.judged()) {
      EXPECT_EQ(spec.pairs.terms.front().beta, learner::preference_terms(name).front().beta);
    }
    EXPECT_FALSE(internal::describe(spec).empty());
  }
  EXPECT_FALSE(read_preference(table("simpo")).needs_reference());
  EXPECT_FALSE(read_preference(table("apo_zero_unpaired")).kto.has_z0);
}

TEST(PreferenceSpec, TakesWhatTheTableSaysInPlaceOfThem) {
  const auto mpo = read_preference(table("mpo", {{"beta", 0.3}, {"sft_weight", 0.0}})).pairs.terms;
  ASSERT_EQ(mpo.size(), 2u);  // the NLL is gone
  EXPECT_EQ(mpo[0].beta, 0.3);
  EXPECT_EQ(mpo[1].beta, 0.3);
  EXPECT_EQ(mpo[1].weight, 0.2);

  const auto rpo = read_preference(table("sigmoid", {{"sft_weight", 0.005}})).pairs.terms;
  EXPECT_EQ(rpo.back().type, PreferenceType::Sft);
  EXPECT_EQ(rpo.back().weight, 0.005);

  const auto kto = read_preference(table("kto", {{"beta", 0.2}, {"undesirable_weight", 1.3}})).kto.loss;
  EXPECT_EQ(kto.beta, 0.2);
  EXPECT_EQ(kto.undesirable_weight, 1.3);

  const auto js = read_preference(table("sigmoid", {{"divergence", "js"}, {"truncation", "keep-end"}}));
  EXPECT_EQ(js.pairs.terms[0].divergence, learner::Divergence::Js);
  EXPECT_EQ(js.truncation, learner::Truncation::KeepEnd);
}

TEST(PreferenceSpec, RefusesWhatContradictsItself) {
  const auto refusal = [](const Json& json, bool has_adapters = false, int64_t per_step = 8) {
    return message_of<UsageError>(
        [&] { check_preference(read_preference(json), "dpo", has_adapters, per_step); });
  };
  EXPECT_EQ(refusal(table("sigmoid", {{"label_smoothing", 0.1}})),
            "stage dpo: preference: sigmoid takes no label_smoothing, it is 0.1");
  EXPECT_THAT(refusal(table("kto"), false, /*per_step=*/1), testing::HasSubstr("at least 2, it is 1"));
  EXPECT_THAT(refusal(table("aot", {{"wpo", true}})), testing::HasSubstr("preference.wpo"));
  EXPECT_THAT(refusal(table("sigmoid", {{"nll_over_prompt", true}})), testing::HasSubstr("there is no NLL"));
  EXPECT_EQ(refusal(table("orpo", {{"nll_over_prompt", true}})), "");
  EXPECT_THAT(refusal(table("simpo", {{"mix_every", 5}})), testing::HasSubstr("no reference to mix into"));
  EXPECT_THAT(refusal(table("sigmoid", {{"mix_every", 5}}), true),
              testing::HasSubstr("reference of adapters"));
}

}  // namespace
}  // namespace sluice::recipes
