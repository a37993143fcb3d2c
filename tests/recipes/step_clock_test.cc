#include "recipes/internal/step_clock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::recipes::internal {
namespace {

TEST(StepClock, AllTimeIsInAPartOfSomeStep) {
  ManualClock time;
  StepClock clock(time);
  time.advance(30);
  clock.ends("wait");
  time.advance(500);
  clock.ends("train");
  learner::StepMetrics first, second;
  clock.report(1, first);
  time.advance(70);  // behind the report
  clock.ends("save");
  time.advance(5);
  clock.ends("wait");
  time.advance(5);
  clock.ends("wait");
  clock.report(2, second);

  EXPECT_EQ(first, (learner::StepMetrics{{"time/wait", 0.03}, {"time/train", 0.5}, {"step_time", 0.53}}));
  EXPECT_EQ(second, (learner::StepMetrics{{"time/save", 0.07}, {"time/wait", 0.01}, {"step_time", 0.08}}));
}

}  // namespace
}  // namespace sluice::recipes::internal
