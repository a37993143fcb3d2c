#include "learner/refills.h"

#include <gtest/gtest.h>

namespace sluice::learner {
namespace {

// A step of four slots: two were refilled, one of them twice and kept in vain, one more was given up.
TEST(RefillMetrics, CountWhatWasTriedDroppedAndInVain) {
  TrainingBatch batch;
  batch.rewards = {{0.0, 1.0}, {1.0, 1.0}, {std::nullopt, 0.5, 0.25}};

  const auto metrics = refill_metrics(batch, {.refills = 5, .given_up = 1});

  EXPECT_EQ(metrics, (StepMetrics{{"refills", 5},
                                  {"refills/dropped", 6},      // each refill is for one, and the one given up
                                  {"refills/fallback", 2}}));  // that one and {1, 1}
}

}  // namespace
}  // namespace sluice::learner
