#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"
#include "tests/spec_example.h"

namespace sluice::rewards {
namespace {

double score_of(const std::string& options, size_t num_tokens) {
  const auto reward = make_reward(spec("soft_overlong", options), {});
  Case from;
  from.tokens.assign(num_tokens, 5);
  return *score(*reward, from, "whatever").score;
}

TEST(SoftOverlong, IsThePenaltyOfTheSpecification) {
  const Json& example = spec_example("reward_soft_overlong");
  const auto lengths = example["inputs"]["completion_lengths"].get<std::vector<size_t>>();
  const auto penalties = example["expected"]["penalty"].get<std::vector<double>>();
  for (size_t i = 0; i < lengths.size(); ++i) {
    EXPECT_NEAR(score_of(R"({"max": 100, "buffer": 20, "factor": 1.0})", lengths[i]), penalties[i], 1e-12);
  }
}

TEST(SoftOverlong, HasAFifthOfTheLimitAsBufferAndNoRampWithoutOne) {
  EXPECT_DOUBLE_EQ(score_of(R"({"max": 100})", 90), -0.5);
  EXPECT_DOUBLE_EQ(score_of(R"({"max": 100, "buffer": 0})", 100), 0.0);
  EXPECT_DOUBLE_EQ(score_of(R"({"max": 100, "buffer": 0, "factor": 0.5})", 101), -0.5);
}

TEST(SoftOverlong, RefusesLimitsThatMakeNoSense) {
  EXPECT_THROW(score_of("{}", 1), UsageError);
  EXPECT_THROW(score_of(R"({"max": 10, "buffer": 11})", 1), UsageError);
  EXPECT_THROW(score_of(R"({"max": 10, "factor": 0})", 1), UsageError);
}

}  // namespace
}  // namespace sluice::rewards
