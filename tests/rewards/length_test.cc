#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

double score_of(const std::string& options, size_t num_tokens) {
  const auto reward = make_reward(spec("length", options), {});
  Case from;
  from.tokens.assign(num_tokens, 5);
  return *score(*reward, from, "whatever").score;
}

TEST(Length, FallsInAStraightLineOnBothSidesOfATarget) {
  EXPECT_DOUBLE_EQ(score_of(R"({"target": 20})", 20), 1.0);
  EXPECT_DOUBLE_EQ(score_of(R"({"target": 20})", 15), 0.75);
  EXPECT_DOUBLE_EQ(score_of(R"({"target": 20})", 25), 0.75);
  EXPECT_DOUBLE_EQ(score_of(R"({"target": 20})", 0), 0.0);
  EXPECT_DOUBLE_EQ(score_of(R"({"target": 20})", 41), 0.0);
}

TEST(Length, FallsOnlyBeyondAMaximum) {
  EXPECT_DOUBLE_EQ(score_of(R"({"max": 10})", 0), 1.0);
  EXPECT_DOUBLE_EQ(score_of(R"({"max": 10})", 10), 1.0);
  EXPECT_DOUBLE_EQ(score_of(R"({"max": 10})", 15), 0.5);
  EXPECT_DOUBLE_EQ(score_of(R"({"max": 10})", 30), 0.0);
}

TEST(Length, WantsExactlyOneOfTargetAndMaximum) {
  EXPECT_THROW(score_of("{}", 1), UsageError);
  EXPECT_THROW(score_of(R"({"target": 5, "max": 9})", 1), UsageError);
  EXPECT_THROW(score_of(R"({"target": 0})", 1), UsageError);
  EXPECT_THROW(score_of(R"({"max": -3})", 1), UsageError);
  EXPECT_THROW(score_of(R"({"max": "ten"})", 1), UsageError);
}

}  // namespace
}  // namespace sluice::rewards
