#include "optim/internal/loss_scale.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "base/error.h"

namespace sluice::optim {
namespace {

TEST(LossScale, HalvesWithEachOverflowUntilItIsOne) {
  LossScale scale;
  EXPECT_EQ(scale.value(), 65536.0);
  for (int halvings = 0; halvings < 16; ++halvings) EXPECT_TRUE(scale.overflowed());
  EXPECT_EQ(scale.value(), 1.0);
  EXPECT_EQ(scale.num_overflows(), 16);
  EXPECT_FALSE(scale.overflowed());
  EXPECT_EQ(scale.value(), 1.0);
  EXPECT_EQ(scale.num_overflows(), 16);
}

void fit(LossScale& scale, int64_t times) {
  for (int64_t i = 0; i < times; ++i) scale.fitted();
}

TEST(LossScale, DoublesAfterAWindowWithoutAnOverflow) {
  LossScale scale;
  fit(scale, LossScale::kWindow - 1);
  scale.overflowed();
  fit(scale, LossScale::kWindow - 1);
  EXPECT_EQ(scale.value(), 32768.0);
  scale.fitted();
  EXPECT_EQ(scale.value(), 65536.0);
  fit(scale, 100 * LossScale::kWindow);
  EXPECT_EQ(scale.value(), LossScale::kMost);
}

TEST(LossScale, GoesOnFromItsState) {
  LossScale whole, second;
  whole.overflowed();
  fit(whole, LossScale::kWindow - 1);
  second.load(whole.state());
  EXPECT_EQ(second.value(), 32768.0);
  EXPECT_EQ(second.num_overflows(), 1);
  second.fitted();
  EXPECT_EQ(second.value(), 65536.0);
}

TEST(LossScale, RefusesAStateThatItNeverGives) {
  LossScale scale;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& bad : {std::vector{nan, 0.0, 0.0},
                          {0.5, 0.0, 0.0},
                          {3.0, 0.0, 0.0},
                          {0x1p25, 0.0, 0.0},
                          {2.0, -1.0, 0.0},
                          {2.0, 2000.0, 0.0},
                          {2.0, 0.0, 0.5},
                          {2.0, 0.0, nan}}) {
    EXPECT_THROW(scale.load(at::tensor(bad, at::kDouble)), DataError);
  }
  EXPECT_EQ(scale.value(), 65536.0);
}

}  // namespace
}  // namespace sluice::optim
