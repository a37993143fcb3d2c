#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

RewardOutcome outcome_of(const std::string& completion, const std::string& options) {
  return score(*make_reward(spec("keyword", options), {}), {}, completion);
}

TEST(Keyword, KeepsToItsTableOfCases) {
  const std::string words = R"({"words": ["cat", "New York", "C++"]})";
  EXPECT_DOUBLE_EQ(*outcome_of("The cat went to new york.", words).score, 2.0 / 3.0);
  EXPECT_EQ(outcome_of("Concatenate in New Yorkshire", words).score, 0.0);
  EXPECT_DOUBLE_EQ(*outcome_of("C++ for cats, cat!", words).score, 2.0 / 3.0);
  EXPECT_EQ(outcome_of("CAT (new york) c++", words).score, 1.0);
  EXPECT_EQ(outcome_of("", words).score, 0.0);
  EXPECT_EQ(outcome_of("cat", words).parts.at("found"), 1.0);
}

TEST(Keyword, LooksAtCaseWhenAsked) {
  const std::string words = R"({"words": ["NaN"], "ignore_case": false})";
  EXPECT_EQ(outcome_of("a NaN", words).score, 1.0);
  EXPECT_EQ(outcome_of("a nan", words).score, 0.0);
}

TEST(Keyword, FindsWordsBesideOtherScripts) {
  EXPECT_EQ(outcome_of("\u00e9tat", R"({"words": ["tat"]})").score, 0.0);
  EXPECT_EQ(outcome_of("l'\u00e9tat,", R"({"words": ["\u00e9tat"]})").score, 1.0);
}

TEST(Keyword, RefusesListsThatMakeNoSense) {
  for (const char* bad : {"{}", R"({"words": []})", R"({"words": [""]})", R"({"words": [" a"]})",
                          R"({"words": ["a", "A"]})", R"({"words": "a"})"}) {
    EXPECT_THROW(make_reward(spec("keyword", bad), {}), UsageError) << bad;
  }
}

}  // namespace
}  // namespace sluice::rewards
