#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

TEST(RewardRegistry, NamesEveryScorerWithASentence) {
  std::vector<std::string> names;
  for (const auto& entry : reward_entries()) {
    names.push_back(entry.name);
    EXPECT_TRUE(entry.summary.ends_with(".")) << entry.name;
  }
  EXPECT_THAT(names,
              testing::ElementsAre("exact_answer", "numeric_answer", "math_answer", "gsm8k", "countdown",
                                   "multiple_choice", "regex", "json_schema", "code_tests", "keyword",
                                   "blocklist", "rouge_l", "bleu", "real_words", "format_tags", "tag_count",
                                   "language", "repetition", "length", "soft_overlong", "reward_model",
                                   "python", "command", "library", "http", "judge"));
}

TEST(RewardRegistry, SuggestsTheNearestName) {
  const auto message = message_of<UsageError>([] { make_reward(spec("exact_anser"), {}); });

  EXPECT_THAT(message, HasSubstr("recipe.toml:7:3: reward \"exact_anser\" does not exist"));
  EXPECT_THAT(message, HasSubstr("did you mean \"exact_answer\"?"));
  EXPECT_THAT(message_of<UsageError>([] { make_reward(spec("zzzzzzzzzzzz"), {}); }),
              HasSubstr("there is exact_answer, numeric_answer"));
}

TEST(RewardRegistry, RefusesUnknownAndWrongOptions) {
  EXPECT_THAT(message_of<UsageError>([] { make_reward(spec("exact_answer", R"({"colum": "x"})"), {}); }),
              HasSubstr("has no option \"colum\"; did you mean \"column\"?"));
  EXPECT_THAT(message_of<UsageError>([] { make_reward(spec("exact_answer", R"({"column": 3})"), {}); }),
              HasSubstr("\"column\" should be a string"));
  EXPECT_THROW(make_reward(spec("exact_answer", "[]"), {}), UsageError);
}

TEST(RewardRegistry, CallsAScorerByItsNameElseByWhatItUses) {
  auto named = spec("exact_answer");
  named.name = "correct";

  EXPECT_EQ(make_reward(named, {})->name(), "correct");
  EXPECT_EQ(make_reward(spec("exact_answer"), {})->name(), "exact_answer");
}

}  // namespace
}  // namespace sluice::rewards
