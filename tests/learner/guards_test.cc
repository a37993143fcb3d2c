#include "learner/guards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace sluice::learner {
namespace {

using testing::HasSubstr;

const StepHealth kGood{}, kSkipped{.skipped = "the loss is not finite"};

Verdict after(HealthGuard& guard, const StepHealth& step, int64_t times) {
  Verdict last = Verdict::GoOn;
  for (int64_t i = 0; i < times; ++i) last = guard.after(step);
  return last;
}

TEST(HealthGuard, BearsTwoSkipsInARowAndNotThree) {
  HealthGuard guard;

  EXPECT_EQ(after(guard, kSkipped, 2), Verdict::GoOn);
  EXPECT_EQ(guard.after(kGood), Verdict::GoOn);
  EXPECT_EQ(after(guard, kSkipped, 2), Verdict::GoOn);
  EXPECT_EQ(guard.num_skipped(), 4);
  HealthGuard other;
  EXPECT_EQ(after(other, kSkipped, 3), Verdict::GoBack);
  EXPECT_EQ(other.cause(), "3 steps in a row were skipped, the last as the loss is not finite");
}

TEST(HealthGuard, BearsFourSkipsInFiftyStepsAndNotFive) {
  for (const int64_t between : {11, 12}) {  // good steps: the fifth skip is 48 or 52 steps behind the first
    HealthGuard guard;
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(guard.after(kSkipped), Verdict::GoOn);
      EXPECT_EQ(after(guard, kGood, between), Verdict::GoOn);
    }
    EXPECT_EQ(guard.after(kSkipped), between == 11 ? Verdict::GoBack : Verdict::GoOn);
    EXPECT_EQ(guard.cause(),
              between == 11 ? "5 of the last 50 steps were skipped, this one as the loss is not finite" : "");
  }
}

TEST(HealthGuard, AGoodStepAfterFiveSkipsIsGoneOnFrom) {
  HealthGuard guard;
  for (int i = 0; i < 4; ++i) {
    guard.after(kSkipped);
    guard.after(kGood);
  }
  EXPECT_EQ(guard.after(kSkipped), Verdict::GoBack);
  EXPECT_EQ(guard.after(kGood), Verdict::GoOn);
}

TEST(HealthGuard, WaitsForNothingWhereTheWeightsAreBroken) {
  HealthGuard guard;

  EXPECT_EQ(guard.after({.broken = "no group is finite"}), Verdict::GoBack);

  EXPECT_EQ(guard.cause(), "no group is finite");
  EXPECT_EQ(guard.num_skipped(), 0);
}

TEST(HealthGuard, StopsAfterThreeStepsAboveTheKl) {
  HealthGuard guard(/*max_kl=*/0.5);

  EXPECT_EQ(after(guard, {.kl = 0.6}, 2), Verdict::GoOn);
  EXPECT_EQ(guard.after({.kl = 0.5}), Verdict::GoOn);  // at the bound is not above it
  EXPECT_EQ(after(guard, {.kl = 0.75}, 2), Verdict::GoOn);
  EXPECT_EQ(guard.after(kGood), Verdict::GoOn);  // it was not measured, which says nothing
  EXPECT_EQ(guard.after({.kl = 0.75}), Verdict::Stop);
  EXPECT_EQ(guard.cause(), "the KL was above guard.max_kl 0.5 for 3 steps, in the last it was 0.75");

  HealthGuard unbounded;
  EXPECT_EQ(after(unbounded, {.kl = 1e9}, 10), Verdict::GoOn);
}

TEST(HealthGuard, GoesOnFromItsStateAsIfNothingHadHappened) {
  HealthGuard guard(0.5), resumed(0.5), forgiven(0.5);
  after(guard, kSkipped, 2);
  after(guard, {.kl = 0.6}, 1);
  after(guard, kSkipped, 2);
  const auto state = parse_json(guard.state().dump(), "state");

  resumed.load(state, "state");
  forgiven.load(state, "state");
  forgiven.forgive();

  EXPECT_EQ(resumed.state(), guard.state());
  EXPECT_EQ(resumed.after(kSkipped), Verdict::GoBack);
  EXPECT_EQ(resumed.num_skipped(), 5);
  EXPECT_EQ(after(forgiven, kSkipped, 2), Verdict::GoOn);
  EXPECT_EQ(after(forgiven, {.kl = 0.6}, 2), Verdict::GoOn);
}

TEST(HealthGuard, RefusesAStateThatIsNone) {
  HealthGuard guard;
  auto state = guard.state();
  state["skipped"] = 1;
  EXPECT_THROW(guard.load(state, "learner.json"), DataError);
  state = guard.state();
  state["above_max_kl"] = -1;
  EXPECT_THROW(guard.load(state, "learner.json"), DataError);
  EXPECT_THROW(guard.load(Json::object(), "learner.json"), DataError);
}

}  // namespace
}  // namespace sluice::learner
