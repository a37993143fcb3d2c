#include "learner/internal/arrived_group.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/learner/rollouts.h"

namespace sluice::learner::internal {
namespace {

using rewards::RewardOutcome;

// One completion of 5 6 behind 1 2, and the outcome of a greedy one.
buffers::RolloutGroup measured_group(std::vector<RewardOutcome> greedy) {
  auto group = group_of({1, 2}, {completion_of({5, 6}, 1.0)}, 4);
  group.greedy = std::move(greedy);
  return group;
}

TEST(ArrivedGroup, HasAGreedyCompletionExactlyWhereItsLeaseAsksForOne) {
  buffers::Lease lease{.group = 4, .num_samples = 1};
  EXPECT_EQ(misfit(measured_group({}), lease, 1, 8), "");
  EXPECT_EQ(misfit(measured_group({RewardOutcome::scored(0.5)}), lease, 1, 8),
            "group 4 has 1 outcomes for a greedy completion, the lease asks for 0");
  lease.greedy_baseline = true;
  EXPECT_EQ(misfit(measured_group({RewardOutcome::scored(0.5)}), lease, 1, 8), "");
  EXPECT_EQ(misfit(measured_group({}), lease, 1, 8),
            "group 4 has 0 outcomes for a greedy completion, the lease asks for 1");
}

TEST(ArrivedGroup, WithoutAScoreToBeMeasuredAgainstIsNotTrainedOn) {
  EXPECT_EQ(quarantine_reason(measured_group({RewardOutcome::scored(0.0)}), {1.0}, 1), "");
  EXPECT_EQ(quarantine_reason(measured_group({RewardOutcome::unscored("timeout")}), {1.0}, 1),
            "no baseline: the greedy completion has no score (timeout)");
}

// What an actor computed wrong is its group's end, and not the actor's: it would send it again and again.
TEST(ArrivedGroup, WhoseNumbersAreNoneIsNotTrainedOn) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  const auto reason_with = [](auto change) {
    auto group = measured_group({});
    change(group.completions[0]);
    return quarantine_reason(group, {1.0}, 1);
  };
  for (const float logprob : {nan, -infinity, infinity, 0.25f}) {
    EXPECT_EQ(reason_with([&](auto& completion) { completion.logprobs[1] = logprob; }),
              "the recorded log-prob of a token is not finite, or above 0");
  }
  for (const float mass : {nan, 0.0f, 1.5f}) {
    EXPECT_EQ(reason_with([&](auto& completion) { completion.kept_mass[1] = mass; }),
              "the mass kept where a token was drawn is not above 0 and at most 1");
  }
  EXPECT_EQ(reason_with([](auto& completion) { completion.logprobs[1] = 0.0f; }), "");
}

}  // namespace
}  // namespace sluice::learner::internal
