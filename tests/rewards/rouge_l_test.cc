#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rewards/internal/common_subsequence.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

RewardOutcome outcome_of(const std::string& completion, const Json& reference) {
  Case from;
  from.row.columns = {{"reference", reference}};
  return score(*make_reward(spec("rouge_l"), {}), from, completion);
}

// Numbers of rouge_score 0.1.2.
TEST(RougeL, IsWhatGooglesScorerComputes) {
  EXPECT_NEAR(*outcome_of("the cat sat on the mat", "the cat was on the mat").score, 0.8333333333, 1e-9);
  EXPECT_NEAR(*outcome_of("mat the on sat cat the", "the cat sat on the mat").score, 0.5, 1e-9);
  EXPECT_NEAR(*outcome_of("the cat", "the cat sat on the mat").score, 0.5, 1e-9);
  EXPECT_NEAR(*outcome_of("the the the the", "the cat sat on the mat").score, 0.4, 1e-9);
  EXPECT_NEAR(*outcome_of("Hello, world! It costs $3.50, i.e. 3-4 dollars.",
                          "Hello world; it cost $3.50 (3-4 dollars).")
                   .score,
              0.8, 1e-9);
  EXPECT_NEAR(
      *outcome_of("one two three four five six seven", "one two four three five seven six eight").score,
      0.6666666667, 1e-9);
  EXPECT_EQ(outcome_of("", "the cat").score, 0.0);
}

TEST(RougeL, NamesItsPartsAndTakesTheBestOfSeveral) {
  const auto outcome = outcome_of("the cat", {"a dog", "the cat sat on"});
  EXPECT_EQ(outcome.parts, (std::map<std::string, double>{{"precision", 1.0}, {"recall", 0.5}}));
  EXPECT_NEAR(*outcome.score, 2.0 / 3.0, 1e-12);
}

TEST(RougeL, LeavesARowWithoutAReferenceUnscored) {
  EXPECT_THAT(outcome_of("a", nullptr).unscored_reason,
              testing::HasSubstr("column \"reference\" is of type null"));
  EXPECT_THAT(outcome_of("a", {"a", 3}).unscored_reason,
              testing::HasSubstr("is a list that is not of texts alone"));
  EXPECT_THAT(outcome_of("a", Json::array()).unscored_reason,
              testing::HasSubstr("is a list that is not of texts alone"));
}

// Across the borders of words of 64 bits, against the table everybody knows.
TEST(RougeL, FindsTheLongestCommonSubsequenceByBits) {
  uint32_t state = 7;
  const auto draw = [&](size_t length, uint32_t kinds) {
    std::vector<int32_t> out;
    for (size_t i = 0; i < length; ++i) {
      state = state * 1664525 + 1013904223;
      out.push_back(static_cast<int32_t>((state >> 16) % kinds));
    }
    return out;
  };
  for (const size_t n : {0, 1, 5, 63, 64, 65, 128, 200}) {
    const auto a = draw(150, 5), b = draw(n, 6);
    std::vector<std::vector<int64_t>> best(a.size() + 1, std::vector<int64_t>(b.size() + 1, 0));
    for (size_t i = 1; i <= a.size(); ++i) {
      for (size_t j = 1; j <= b.size(); ++j) {
        best[i][j] = a[i - 1] == b[j - 1] ? best[i - 1][j - 1] + 1 : std::max(best[i - 1][j], best[i][j - 1]);
      }
    }
    EXPECT_EQ(internal::longest_common_subsequence(a, b), best[a.size()][b.size()]) << n;
  }
}

}  // namespace
}  // namespace sluice::rewards
