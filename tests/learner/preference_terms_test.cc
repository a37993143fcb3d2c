#include "learner/preference_terms.h"

#include "tests/loss_checks.h"

namespace sluice::learner {
namespace {

using enum PreferenceType;

TEST(PreferenceTerms, HaveTheDefaultsOfTheSpecification) {
  const std::vector<std::pair<const char*, double>> betas = {
      {"sigmoid", 0.1},   {"rso", 0.05},       {"ipo", 0.1},      {"nca_pair", 0.01}, {"bco_pair", 0.01},
      {"discopop", 0.05}, {"sppo_hard", 1e-3}, {"apo_zero", 0.1}, {"simpo", 2.0},     {"orpo", 0.1}};
  for (const auto& [name, beta] : betas) EXPECT_EQ(preference_terms(name).front().beta, beta) << name;
  EXPECT_EQ(preference_terms("robust").front().label_smoothing, 0.1);
  EXPECT_EQ(preference_terms("exo_pair").front().label_smoothing, 1e-3);
  EXPECT_EQ(preference_terms("discopop").front().tau, 0.05);
  EXPECT_EQ(preference_terms("simpo").front().gamma, 0.5);
  EXPECT_EQ(preference_terms("cpo").back().type, Sft);
  EXPECT_EQ(preference_terms("cpo").back().weight, 1.0);
  EXPECT_EQ(preference_terms("rpo").back().weight, 0.005);
}

TEST(PreferenceTerms, PassTheirOwnCheckUnderEveryName) {
  for (const auto& name : preference_names()) {
    SCOPED_TRACE(name);
    if (name == "sft") continue;
    EXPECT_NO_THROW(check_terms(preference_terms(name)));
  }
  expect_refused([] { preference_terms("dpo2"); }, "no loss is called \"dpo2\"");
}

TEST(PreferenceTerms, SayWhatTheyNeed) {
  EXPECT_TRUE(needs_reference(preference_terms("mpo")));
  for (const char* name : {"simpo", "alphapo", "cpo", "cpo_hinge", "cpo_ipo", "orpo"}) {
    EXPECT_FALSE(needs_reference(preference_terms(name))) << name;
  }
  EXPECT_TRUE(needs_whole_step({{.type = Sigmoid}, {.type = AotUnpaired}}));
  EXPECT_FALSE(needs_whole_step(preference_terms("mpo")));
}

TEST(PreferenceTerms, RefuseNumbersThatTheirTypeDoesNotTake) {
  const std::vector<std::pair<PreferenceTerm, const char*>> refused = {
      {{.type = Ipo, .beta = 0.0}, "ipo has a beta of 0"},
      {{.type = Hinge, .beta = -0.1}, "hinge has a beta of -0.1"},
      {{.type = Sigmoid, .beta = NAN}, "sigmoid has a number that is not finite"},
      {{.type = Cdpo, .label_smoothing = 0.5}, "cdpo has a label_smoothing of 0.5"},
      {{.type = Robust, .label_smoothing = -0.1}, "robust has a label_smoothing of -0.1"},
      {{.type = ExoPair}, "exo_pair has a label_smoothing of 0"},
      {{.type = Sigmoid, .label_smoothing = 0.1}, "sigmoid takes no label_smoothing, it is 0.1"},
      {{.type = Discopop, .tau = 2.0}, "discopop has a tau of 2"},
      {{.type = Cpo, .gamma = 0.5}, "cpo takes neither gamma nor alpha, they are 0.5 and 0"},
      {{.type = IpoSum, .divergence = Divergence::Js}, "ipo_sum is no function"}};
  for (const auto& [term, part] : refused) {
    expect_refused([&] { check_terms({term}); }, part);
  }
  expect_refused([] { check_terms({}); }, "none of the 0 terms");
}

}  // namespace
}  // namespace sluice::learner
