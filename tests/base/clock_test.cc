#include "base/clock.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sluice {
namespace {

TEST(ManualClock, MovesWhenToldAndNeverBack) {
  ManualClock clock;
  EXPECT_EQ(clock.now_ms(), 0);

  clock.advance(1500);
  clock.advance(0);

  EXPECT_EQ(clock.now_ms(), 1500);
  EXPECT_THROW(clock.advance(-1), Error);
}

TEST(SteadyClock, DoesNotGoBack) {
  const SteadyClock clock;
  const Millis before = clock.now_ms();
  EXPECT_GE(clock.now_ms(), before);
}

TEST(WallClock, KnowsThisCentury) { EXPECT_GT(wall_seconds(), 1.7e9); }

}  // namespace
}  // namespace sluice
