#include "monitor/step_report.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"

namespace sluice::monitor {
namespace {

StepReport rollout_report(int64_t step, double reward) {
  return {.stage = "grpo",
          .step = 40 + step,
          .stage_step = step,
          .stage_steps = 200,
          .metrics = {{"reward", reward},
                      {"reward_std", 0.31},
                      {"kl", 0.00031},
                      {"entropy", 1.2346},
                      {"completions/mean_length", 231.4},
                      {"completions/clipped_ratio", 0.031},
                      {"clip_ratio/region_mean", 0.12},
                      {"policy/lag", 1},
                      {"queue/depth", 12},
                      {"step_time", 2.13}}};
}

TEST(StepReport, IsOneFlatObjectWithItsSchema) {
  const auto json =
      to_json({.stage = "sft",
               .step = 3,
               .stage_step = 3,
               .stage_steps = 10,
               .wall_time = 1.5,
               .metrics = {{"grad_norm", std::numeric_limits<double>::infinity()}, {"loss", 0.25}},
               .note = "a step was skipped"});
  EXPECT_EQ(json.dump(),
            R"({"schema":1,"stage":"sft","step":3,"stage_step":3,"stage_steps":10,"wall_time":1.5,)"
            R"("note":"a step was skipped","grad_norm":null,"loss":0.25})");
}

TEST(StepReport, RefusesAMetricThatHidesAFieldOfTheLine) {
  EXPECT_THROW(to_json({.metrics = {{"step", 1}}}), Error);
}

TEST(StepLine, ShowsWhatMattersInAStageOfRollouts) {
  EXPECT_EQ(step_line(rollout_report(12, 0.412)),
            "grpo  12/200  reward  0.412  sd  0.310  kl  3e-04  ent  1.235  len   231  clip  12%  lag 1.00  "
            "queue    12    2.1s");
}

TEST(StepLine, ShowsRefillsInAStageThatHasThem) {
  auto report = rollout_report(12, 0.412);
  report.stage = "dapo";
  report.metrics["refills"] = 17;
  EXPECT_EQ(step_line(report),
            "dapo  12/200  reward  0.412  sd  0.310  kl  3e-04  ent  1.235  len   231  clip  12%  lag 1.00  "
            "refill   17    2.1s");
}

TEST(StepLine, HasTheSamePlacesInEveryLineOfAStage) {
  const auto line = step_line(rollout_report(12, 0.412));
  auto other = rollout_report(7, -1234567.0);
  other.metrics.erase("kl");
  other.metrics["entropy"] = std::numeric_limits<double>::quiet_NaN();
  other.metrics["step_time"] = 123456;
  other.metrics["queue/depth"] = 1e9;
  const auto odd = step_line(other);
  EXPECT_EQ(odd.size(), line.size()) << odd;
  for (const auto* label : {"reward", "sd", "kl", "ent", "len", "lag", "queue"}) {
    EXPECT_EQ(odd.find(label), line.find(label)) << label;
  }
}

TEST(StepLine, HasAtMost120Columns) {
  auto report = rollout_report(12, -0.412);
  report.stage = "a_stage_with_a_rather_long_name";
  report.stage_steps = 1'000'000'000'000;
  for (auto& [name, value] : report.metrics) value = -1.23456789e-200;
  EXPECT_LE(step_line(report).size(), 120u) << step_line(report);
  for (auto& [name, value] : report.metrics) value = -1.7e308;
  EXPECT_LE(step_line(report).size(), 120u) << step_line(report);
}

TEST(StepLine, ShowsWhatMattersInASupervisedStage) {
  const StepReport report = {.stage = "cold_start",
                             .stage_step = 3,
                             .stage_steps = 40,
                             .metrics = {{"loss", 2.34567},
                                         {"entropy", 1.5},
                                         {"grad_norm", 12.3456},
                                         {"learning_rate", 1e-5},
                                         {"num_tokens", 16384},
                                         {"tokens_per_s", 12345.6},
                                         {"step_time", 1.33}}};
  EXPECT_EQ(
      step_line(report),
      "cold_start  3/40  loss  2.346  entropy  1.500  grad 12.346  lr 1.0e-05  tokens  16.4k  tok/s  12.3k"
      "    1.3s");
}

TEST(StepLine, ShowsWhatMattersWhereARewardModelIsTrained) {
  const StepReport report{.stage = "judge",
                          .stage_step = 7,
                          .stage_steps = 60,
                          .metrics = {{"loss", 0.4213},
                                      {"accuracy", 0.78125},
                                      {"margin", 1.25},
                                      {"mean_reward", -0.0312},
                                      {"grad_norm", 0.9},
                                      {"learning_rate", 1e-4},
                                      {"tokens_per_s", 12345},
                                      {"step_time", 0.31}}};
  EXPECT_EQ(step_line(report),
            "judge  7/60  loss  0.421  accuracy  78%  margin   1.250  reward -0.031  grad  0.900  lr 1.0e-04"
            "  tok/s  12.3k   310ms");
}

TEST(StepLine, ShowsWhatMattersInAPreferenceStage) {
  const StepReport report = {
      .stage = "dpo",
      .stage_step = 1,
      .stage_steps = 9,
      .metrics = {{"loss", 0.693}, {"rewards/accuracies", 0.5}, {"rewards/margins", -0.012}}};
  EXPECT_EQ(
      step_line(report),
      "dpo 1/9  loss  0.693  accuracy  50%  margin  -0.012  grad      -  lr       -  tok/s      -       -");
}

TEST(StepLine, ShowsWhateverAnotherStageMeasured) {
  const StepReport report = {
      .stage = "eval", .stage_step = 1, .stage_steps = 1, .metrics = {{"accuracy", 0.75}, {"pass@8", 1}}};
  EXPECT_EQ(step_line(report), "eval 1/1  accuracy  0.7500  pass@8  1.0000");
}

TEST(StepLine, DoesNotLetANameDisturbTheTerminal) {
  EXPECT_EQ(step_line({.stage = "a\x1b[2J\nb", .stage_step = 1, .stage_steps = 1}), "a?[2J?b 1/1");
  EXPECT_EQ(step_line({.stage = "ééééééééé", .stage_step = 1, .stage_steps = 1}), "éééééé 1/1");
}

}  // namespace
}  // namespace sluice::monitor
