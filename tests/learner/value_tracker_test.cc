#include "learner/value_tracker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace sluice::learner {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;

const std::vector<std::string> kPrompts = {"1+1=", "2+2="};
const GroupRewards kFirst = {{1.0}, {0.0}};

TEST(ValueTracker, InTheFirstStepEveryPromptIsWorthTheMeanOfTheStep) {
  const ValueTracker values(0.5);
  EXPECT_THAT(values.baselines(kPrompts, {{1.0, 0.5}, {0.0, std::nullopt}}),
              ElementsAre(DoubleEq(0.5), DoubleEq(0.5)));
  EXPECT_EQ(values.num_prompts(), 0);
}

TEST(ValueTracker, WhatAPromptEarnedIsItsBaselineTheNextTime) {
  ValueTracker values(0.5);
  values.learn(kPrompts, kFirst);

  // The mean of the step counts as one reward before the first: (0.5 * 0.5 + 1) / 1.5 and 0.25 / 1.5.
  EXPECT_THAT(values.baselines({"2+2=", "1+1="}, {{}, {}}),
              ElementsAre(DoubleEq(0.25 / 1.5), DoubleEq(1.25 / 1.5)));
  values.learn({"1+1="}, {{0.0}});
  // 1.5 rewards of mean 5/6 count half as much: (0.75 * 5/6 + 0) / 1.75.
  EXPECT_THAT(values.baselines({"1+1="}, {{}}), ElementsAre(DoubleEq(0.625 / 1.75)));
  // One that never came is worth what all three rewards were on average.
  EXPECT_THAT(values.baselines({"3+3="}, {{1.0}}), ElementsAre(DoubleEq(1.0 / 3.0)));
}

TEST(ValueTracker, TakesAllRewardsOfAGroupAtOnceAndNoneOfAnUnscoredOne) {
  ValueTracker values(0.5);
  values.learn({"a"}, {{1.0, 1.0, std::nullopt, 0.0}});
  // One of mean 2/3 before, of which half is left: (0.5 * 2/3 + 2) / 3.5.
  EXPECT_THAT(values.baselines({"a"}, {{}}), ElementsAre(DoubleEq((1.0 / 3.0 + 2.0) / 3.5)));
  values.learn({"b"}, {{std::nullopt}});
  EXPECT_EQ(values.num_prompts(), 1);
}

TEST(ValueTracker, ForgetsSoThatTheLastRewardsAreWhatCounts) {
  ValueTracker values(0.875);
  for (int i = 0; i < 100; ++i) values.learn({"a"}, {{0.0}});
  for (int i = 0; i < 8; ++i) values.learn({"a"}, {{1.0}});
  EXPECT_NEAR(values.baselines({"a"}, {{}})[0], 1.0 - std::pow(0.875, 8), 1e-5);  // n has become 8
}

TEST(ValueTracker, GoesOnFromItsStateWithTheSameNumbers) {
  ValueTracker values(0.9), resumed(0.9);
  values.learn(kPrompts, {{1.0 / 3.0}, {0.1}});
  values.learn(kPrompts, {{0.7}, {1e-17}});

  resumed.load(parse_json(values.state().dump(), "state"), "state");

  EXPECT_EQ(resumed.state(), values.state());
  const std::vector<std::string> all = {"1+1=", "2+2=", "new"};
  EXPECT_EQ(resumed.baselines(all, {{}, {}, {}}), values.baselines(all, {{}, {}, {}}));
}

TEST(ValueTracker, RefusesAMemoryOfEverythingAndAStateThatIsNone) {
  EXPECT_THROW(ValueTracker(1.0), Error);
  ValueTracker values(0.5);
  values.learn(kPrompts, kFirst);
  auto state = values.state();
  state["prompts"].begin().value() = {1.0, 0.0};  // a mean of nothing
  EXPECT_THROW(values.load(state, "learner.json"), DataError);
}

}  // namespace
}  // namespace sluice::learner
