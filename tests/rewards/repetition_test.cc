#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

double score_of(const std::string& completion, const std::string& options = "{}",
                std::vector<int32_t> tokens = {}) {
  Case from;
  from.tokens = std::move(tokens);
  return *score(*make_reward(spec("repetition", options), {}), from, completion).score;
}

TEST(Repetition, KeepsToItsTableOfCases) {
  EXPECT_EQ(score_of("a b c d e f"), 1.0);
  EXPECT_EQ(score_of("a b c a b c"), 0.75);
  EXPECT_EQ(score_of("no no no no no no"), 0.25);
  EXPECT_EQ(score_of("yes"), 1.0);
  EXPECT_EQ(score_of(""), 1.0);
}

TEST(Repetition, CountsMarksAndOtherScriptsToo) {
  EXPECT_EQ(score_of("!!!!!!"), 0.25);
  EXPECT_EQ(score_of("\u54c8\u54c8\u54c8\u54c8\u54c8\u54c8"), 0.25);
  EXPECT_EQ(score_of("No, no. NO"), 1.0);  // no , no . no
}

TEST(Repetition, GoesByTokensWhenAsked) {
  EXPECT_EQ(score_of("aaaa", R"({"of": "tokens", "n": 1})", {5, 5, 5, 5}), 0.25);
  EXPECT_EQ(score_of("aaaa", R"({"n": 1})", {5, 5, 5, 5}), 1.0);
  EXPECT_EQ(score_of("", R"({"of": "tokens", "n": 2})", {1, 2, 1, 2, 1}), 0.5);
}

TEST(Repetition, RefusesRunsThatAreNone) {
  for (const char* bad : {R"({"n": 0})", R"({"n": 65})", R"({"of": "lines"})"}) {
    EXPECT_THROW(make_reward(spec("repetition", bad), {}), UsageError) << bad;
  }
}

}  // namespace
}  // namespace sluice::rewards
