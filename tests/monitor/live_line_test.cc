#include "monitor/live_line.h"

#include <gtest/gtest.h>

namespace sluice::monitor {
namespace {

const StepReport kReport = {.stage = "grpo", .step = 68, .stage_step = 62, .stage_steps = 100};

TEST(LiveLine, SaysHowFarAndHowLong) {
  // 38 steps of 1.5 s, the mean of 1 and 2.
  EXPECT_EQ(live_text(kReport, {1.0, 2.0}, 60),
            "grpo [###############----------]  62%  38 steps, 57.0s left");
  EXPECT_EQ(live_text(kReport, {}, 44), "grpo [#########-------]  62%  38 steps left");
}

TEST(LiveLine, FitsANarrowTerminal) {
  EXPECT_EQ(live_text(kReport, {2.0}, 30), "grpo  62%  38 steps, 1m 16s l");
  for (size_t columns = 1; columns < 120; ++columns)
    EXPECT_LT(live_text(kReport, {2.0}, columns).size(), columns);
}

TEST(LiveLine, IsNothingInAPipe) {
  testing::internal::CaptureStderr();
  {
    LiveLine line;
    line.draw(kReport);
    line.clear();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace sluice::monitor
