#include "optim/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/optim/error_text.h"
#include "tests/spec_example.h"

namespace sluice::optim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Schedule, GivesTheMultipliersOfTheSpecification) {
  const Json& example = spec_example("lr_schedules");
  const auto steps = example["inputs"]["steps"].get<std::vector<int64_t>>();
  const Json& numbers = example["hyperparameters"];
  ScheduleOptions options{.warmup_steps = numbers["warmup_steps"].get<int64_t>(),
                          .warmup_from_zero = true,
                          .min_ratio = numbers["min_lr_ratio"].get<double>(),
                          .stable_steps = numbers["wsd_stable_steps"].get<int64_t>(),
                          .decay_steps = numbers["wsd_decay_steps"].get<int64_t>()};
  struct Case {
    std::string name, kind, decay_shape = "cosine";
  };
  const std::vector<Case> cases = {
      {"constant_with_warmup", "constant"}, {"linear", "linear"},  {"cosine_min_ratio", "cosine"},
      {"wsd_linear", "wsd", "linear"},      {"wsd_cosine", "wsd"}, {"wsd_1_sqrt", "wsd", "1-sqrt"},
      {"inverse_sqrt", "inverse_sqrt"},
  };
  ASSERT_EQ(example["expected"].size(), cases.size());

  for (const auto& [name, kind, decay_shape] : cases) {
    options.kind = kind;
    options.decay_shape = decay_shape;
    const auto expected = example["expected"][name].get<std::vector<double>>();
    for (size_t i = 0; i < steps.size(); ++i) {
      EXPECT_NEAR(schedule_multiplier(options, steps[i], numbers["total_steps"].get<int64_t>()), expected[i],
                  1e-12)
          << name << " at step " << steps[i];
    }
  }
}

TEST(Schedule, WarmsUpSoThatTheFirstUpdateMovesAndTheLastOfTheWarmUpIsWhole) {
  const ScheduleOptions options{.kind = "linear", .warmup_steps = 4};
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 0, 20), 0.25);
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 3, 20), 1.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 4, 20), 1.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 12, 20), 0.5);
}

TEST(Schedule, WithoutAWarmUpBeginsAtOne) {
  for (const auto* kind : {"constant", "linear", "cosine", "wsd"}) {
    EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = kind}, 0, 10), 1.0) << kind;
  }
}

TEST(Schedule, OfARunThatIsOverStaysWhereItEnded) {
  EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = "linear"}, 30, 20), 0.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = "cosine", .min_ratio = 0.1}, 30, 20), 0.1);
  EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = "wsd", .min_ratio = 0.1}, 30, 20), 0.1);
}

TEST(Schedule, AWarmUpAsLongAsTheRunNeitherDividesByZeroNorFallsBelowZero) {
  EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = "linear", .warmup_steps = 10}, 9, 10), 1.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = "linear", .warmup_steps = 10}, 10, 10), 0.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = "linear", .warmup_steps = 10}, 12, 10), 0.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = "cosine", .warmup_steps = 10}, 10, 10), 1.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = "wsd", .warmup_steps = 12}, 12, 10), 0.0);
}

TEST(Schedule, WsdRisesFromTheRatioThatItFallsTo) {
  const ScheduleOptions options{.kind = "wsd", .warmup_steps = 4, .min_ratio = 0.2};
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 0, 44), 0.4);  // 0.2 + 0.8 / 4
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 3, 44), 1.0);
}

TEST(Schedule, WsdFallsInTheLastTenthOfTheStepsAfterTheWarmUpUnlessToldOtherwise) {
  const auto last_of_one = [](const ScheduleOptions& options) {
    int64_t step = 0;
    while (schedule_multiplier(options, step + 1, 44) == 1.0) ++step;
    return step;
  };
  // The first step of the fall is at 1 still.
  EXPECT_EQ(last_of_one({.kind = "wsd", .warmup_steps = 1, .min_ratio = 0.5}), 1 + 38);  // 43 * 9 / 10
  EXPECT_EQ(last_of_one({.kind = "wsd", .decay_steps = 14}), 30);
  EXPECT_EQ(last_of_one({.kind = "wsd", .stable_steps = 20}), 20);
  EXPECT_EQ(last_of_one({.kind = "wsd", .stable_steps = 20, .decay_steps = 2}), 20);
  EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = "wsd", .stable_steps = 20}, 32, 44),
                   0.5);  // half of 24 steps
}

TEST(Schedule, WsdWithNoStepsOfDecayDropsAtOnce) {
  const ScheduleOptions options{.kind = "wsd", .min_ratio = 0.1, .stable_steps = 5, .decay_steps = 0};
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 4, 10), 1.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 5, 10), 0.1);
}

TEST(Schedule, RefusesNamesThatItDoesNotKnowAndListsThoseItDoes) {
  EXPECT_THAT(schedule_kinds(), ElementsAre("constant", "linear", "cosine", "wsd", "inverse_sqrt"));
  EXPECT_THAT(decay_shapes(), ElementsAre("linear", "cosine", "1-sqrt"));
  EXPECT_EQ(error_text([] { schedule_multiplier({.kind = "cosin"}, 0, 10); }),
            "schedule_multiplier: kind is \"cosin\", known are constant, linear, cosine, wsd, inverse_sqrt");
  EXPECT_EQ(error_text([] { schedule_multiplier({.kind = "wsd", .decay_shape = "sqrt"}, 0, 10); }),
            "schedule_multiplier: decay_shape is \"sqrt\", known are linear, cosine, 1-sqrt");
}

TEST(Schedule, RefusesNumbersThatMakeNoSense) {
  const std::vector<std::pair<ScheduleOptions, std::string>> cases = {
      {{.warmup_steps = -1}, "a warm-up of -1 steps"},
      {{.kind = "cosine", .min_ratio = 1.5}, "min_ratio is 1.5"},
      {{.kind = "wsd", .stable_steps = -3}, "-3 stable steps"},
      {{.kind = "wsd", .decay_steps = -4}, "-4 of decay"},
      {{.kind = "inverse_sqrt"}, "inverse_sqrt with a warm-up of 0 steps"},
  };
  for (const auto& [options, text] : cases) {
    EXPECT_THAT(error_text([&, &options = options] { schedule_multiplier(options, 0, 10); }),
                HasSubstr(text));
  }
  EXPECT_THAT(error_text([] { schedule_multiplier({}, -1, 10); }), HasSubstr("step -1"));
}

}  // namespace
}  // namespace sluice::optim
