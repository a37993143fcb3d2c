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

TEST(StepClock, MovesWhatWasOfAnotherPart) {
  ManualClock time;
  StepClock clock(time);
  time.advance(500);
  clock.ends("train");
  clock.moves("train", "all_reduce_wait", 0.125);
  learner::StepMetrics metrics;
  clock.report(1, metrics);
  EXPECT_EQ(metrics, (learner::StepMetrics{
                         {"time/train", 0.375}, {"time/all_reduce_wait", 0.125}, {"step_time", 0.5}}));

  time.advance(2);
  clock.ends("train");
  clock.moves("train", "all_reduce_wait", 0.0023);  // of a clock that ticks more finely
  metrics.clear();
  clock.report(2, metrics);
  EXPECT_EQ(metrics, (learner::StepMetrics{
                         {"time/train", 0.0}, {"time/all_reduce_wait", 0.002}, {"step_time", 0.002}}));
}

}  // namespace
}  // namespace sluice::recipes::internal
