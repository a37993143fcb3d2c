#include "optim/internal/spike_guard.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "base/error.h"

namespace sluice::optim {
namespace {

// How many of so many norms are spikes.
int64_t spikes_among(SpikeGuard& guard, double norm, int64_t count) {
  int64_t spikes = 0;
  for (int64_t i = 0; i < count; ++i) spikes += guard.is_spike(norm) ? 1 : 0;
  return spikes;
}

TEST(SpikeGuard, FindsANormAboveSoManyTimesTheUsualOne) {
  SpikeGuard guard(/*ratio=*/10.0, /*window=*/50);
  EXPECT_EQ(spikes_among(guard, 1.0, 50), 0);
  EXPECT_FALSE(guard.is_spike(10.0));          // the bound itself is not above it
  EXPECT_DOUBLE_EQ(guard.usual_norm(), 1.18);  // 1 + (10 - 1) / 50
  EXPECT_TRUE(guard.is_spike(11.9));
  EXPECT_EQ(guard.num_spikes(), 1);
}

TEST(SpikeGuard, TakesThePlainMeanUntilItsWindowIsFull) {
  SpikeGuard guard(10.0, 4);
  for (const double norm : {1.0, 2.0, 6.0}) guard.is_spike(norm);
  EXPECT_DOUBLE_EQ(guard.usual_norm(), 3.0);
  guard.is_spike(7.0);
  EXPECT_DOUBLE_EQ(guard.usual_norm(), 4.0);
  guard.is_spike(8.0);
  EXPECT_DOUBLE_EQ(guard.usual_norm(), 5.0);  // 4 + (8 - 4) / 4
}

TEST(SpikeGuard, WaitsUntilItHasSeenAFew) {
  SpikeGuard guard(10.0, 50);
  EXPECT_EQ(spikes_among(guard, 1.0, SpikeGuard::kFewest - 1), 0);
  EXPECT_FALSE(guard.is_spike(1e6));
}

TEST(SpikeGuard, IsHardlyMovedByOneSpikeHoweverLarge) {
  SpikeGuard guard(10.0, 50);
  spikes_among(guard, 1.0, 50);
  EXPECT_TRUE(guard.is_spike(1e30));
  EXPECT_DOUBLE_EQ(guard.usual_norm(), 1.18);
  EXPECT_TRUE(guard.is_spike(12.0));
}

TEST(SpikeGuard, FollowsARiseThatLasts) {
  SpikeGuard guard(10.0, 50);
  spikes_among(guard, 1.0, 50);
  // Each lifts the bound by 1.18: 10, 11.8, 13.9, 16.4, 19.4, 22.9.
  EXPECT_EQ(spikes_among(guard, 20.0, 100), 5);
}

TEST(SpikeGuard, LeavesOutStepsWithNothingToLearnFrom) {
  SpikeGuard guard(10.0, 50);
  EXPECT_EQ(spikes_among(guard, 0.0, 100), 0);
  EXPECT_EQ(spikes_among(guard, 1.0, 20), 0);
  EXPECT_DOUBLE_EQ(guard.usual_norm(), 1.0);
}

TEST(SpikeGuard, GoesOnFromItsState) {
  SpikeGuard whole(10.0, 4), second(10.0, 4);
  for (const double norm : {1.0, 2.0, 3.0, 1.0, 1.0, 2.0, 1.0, 1.5, 1.0, 1.0, 90.0}) whole.is_spike(norm);
  second.load(whole.state());
  EXPECT_EQ(second.num_spikes(), 1);
  for (const double norm : {30.0, 40.0, 2.0, 100.0}) EXPECT_EQ(second.is_spike(norm), whole.is_spike(norm));
  EXPECT_TRUE(at::equal(second.state(), whole.state()));
}

TEST(SpikeGuard, RefusesAStateThatItNeverGives) {
  SpikeGuard guard(10.0, 4);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& bad : {std::vector{nan, 5.0, 0.0}, {-1.0, 5.0, 0.0}, {1.0, -5.0, 0.0}, {1.0, 5.0, 6.0}}) {
    EXPECT_THROW(guard.load(at::tensor(bad, at::kDouble)), DataError);
  }
}

}  // namespace
}  // namespace sluice::optim
