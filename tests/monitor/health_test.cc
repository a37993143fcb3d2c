#include "monitor/health.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "base/files.h"

namespace sluice::monitor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Metrics = std::map<std::string, double>;

// A run that learns: every number that a rule looks at, as well runs have it.
Metrics healthy(int64_t step) {
  const double wave = std::sin(static_cast<double>(step));
  const double share = std::min(1.0, static_cast<double>(step) / 200);
  return {{"reward", 0.1 + 0.7 * share + 0.05 * wave},
          {"reward_std", 0.4},
          {"frac_reward_zero_std", 0.3 + 0.4 * share},
          {"rewards/math/mean", 0.1 + 0.7 * share},
          {"rewards/math/std", 0.4},
          {"rewards/format/mean", 0.9 + 0.02 * wave},
          {"rewards/format/std", 0.3},
          {"entropy", 0.45 - 0.3 * share},
          {"kl", 0.05 * share},
          {"grad_norm", 1.3 + 0.5 * wave},
          {"completions/clipped_ratio", 0.02},
          {"completions/mean_length", 200 + 150 * share},
          {"completions/max_length", 900},
          {"queue/age", 3.5},
          {"queue/depth", 64},
          {"queue/credits", 0},
          {"policy/lag", 1},
          {"sampling/logp_diff_mean", 0.015},
          {"step_time", 8},
          {"time/wait", 3 + wave},
          {"disk/free_mb", 50'000},
          {"disk/checkpoint_mb", 2000}};
}

// The alarms after `steps` steps of a run that falls ill at step `ill`.
std::vector<Alarm> alarms_of(int64_t steps, int64_t ill,
                             const std::function<void(int64_t, Metrics&)>& illness,
                             std::vector<std::string> off = {}) {
  HealthWatch watch(std::move(off));
  std::vector<Alarm> alarms;
  for (int64_t step = 1; step <= steps; ++step) {
    auto metrics = healthy(step);
    if (step >= ill) illness(step, metrics);
    alarms = watch.after({.stage = "grpo", .step = 100 + step, .metrics = std::move(metrics)});
  }
  return alarms;
}

// The one alarm of an illness in which some metrics have these values.
Alarm only_alarm(int64_t steps, int64_t ill, const Metrics& values) {
  const auto alarms = alarms_of(steps, ill, [&](int64_t, Metrics& metrics) {
    for (const auto& [name, value] : values) metrics[name] = value;
  });
  if (alarms.size() != 1) {
    std::string names;
    for (const auto& alarm : alarms) names += " " + alarm.rule;
    ADD_FAILURE() << alarms.size() << " alarms:" << names;
    return {};
  }
  return alarms.front();
}

TEST(Health, ARunThatLearnsRaisesNothing) {
  HealthWatch watch;
  for (int64_t step = 1; step <= 300; ++step) {
    EXPECT_THAT(watch.after({.stage = "grpo", .step = step, .metrics = healthy(step)}), IsEmpty())
        << "step " << step;
  }
}

TEST(Health, AStageWithoutRolloutsRaisesNothing) {
  HealthWatch watch;
  for (int64_t step = 1; step <= 100; ++step) {
    EXPECT_THAT(watch.after({.stage = "sft",
                             .step = step,
                             .metrics = {{"loss", 0.001}, {"entropy", 0.001}, {"grad_norm", 0.5}}}),
                IsEmpty());
  }
}

TEST(Health, EqualRewardsOfAllGroups) {
  const auto alarm = only_alarm(40, 21, {{"frac_reward_zero_std", 1.0}, {"reward", 0.5}});
  EXPECT_EQ(alarm.rule, "equal_rewards");
  EXPECT_EQ(alarm.since_step, 130);  // ten steps of it
  EXPECT_THAT(alarm.sentence, HasSubstr("in 100 % of the groups over the last 10 steps"));
  EXPECT_THAT(alarm.suggestion, HasSubstr("sluice rollouts"));
}

TEST(Health, NoRewardAtAll) {
  const auto alarm = only_alarm(20, 1, {{"reward", 0}, {"reward_std", 0}});
  EXPECT_EQ(alarm.rule, "no_reward");
  EXPECT_EQ(alarm.since_step, 120);
  EXPECT_THAT(alarm.sentence, HasSubstr("a reward of 0 over the last 20 steps"));
}

// Penalties and rewards may cancel out.
TEST(Health, ARewardOfZeroOnAverageIsNoneOfNothing) {
  EXPECT_THAT(alarms_of(40, 1, [](int64_t, Metrics& metrics) { metrics["reward"] = 0; }), IsEmpty());
}

TEST(Health, CollapseOfTheEntropy) {
  const auto alarm = only_alarm(40, 21, {{"entropy", 0.004}});
  EXPECT_EQ(alarm.rule, "entropy_collapse");
  EXPECT_EQ(alarm.since_step, 130);
  EXPECT_THAT(alarm.sentence, HasSubstr("0.004 nats a token"));
  EXPECT_THAT(alarm.sentence, HasSubstr("after 0.442 in the first steps"));  // 0.45 - 0.3 * 5.5 / 200
}

TEST(Health, BlowUpOfTheKl) {
  const auto alarm = only_alarm(23, 21, {{"kl", 2.5}});
  EXPECT_EQ(alarm.rule, "kl_blow_up");
  EXPECT_EQ(alarm.since_step, 123);
  EXPECT_THAT(alarm.sentence, HasSubstr("2.5 nats"));
}

TEST(Health, BlowUpOfTheGradient) {
  const auto alarm = only_alarm(33, 31, {{"grad_norm", 40}});
  EXPECT_EQ(alarm.rule, "grad_norm_blow_up");
  EXPECT_EQ(alarm.since_step, 133);
  EXPECT_THAT(alarm.sentence, HasSubstr("the gradient's norm is 40 after a median of 1."));
}

TEST(Health, ALoneSpikeIsNoBlowUp) {
  EXPECT_THAT(alarms_of(60, 31,
                        [](int64_t step, Metrics& metrics) {
                          if (step % 3 == 0) metrics["grad_norm"] = 400;
                        }),
              IsEmpty());
}

TEST(Health, CompletionsThatAreCut) {
  const auto alarm = only_alarm(40, 21, {{"completions/clipped_ratio", 0.91}});
  EXPECT_EQ(alarm.rule, "truncated");
  EXPECT_THAT(alarm.sentence, HasSubstr("were cut over the last 10 steps, at 900 tokens"));
  EXPECT_THAT(alarm.suggestion, HasSubstr("rollout.max_new_tokens"));
}

TEST(Health, LengthThatDriftsForNothing) {
  const auto longer = only_alarm(60, 41, {{"completions/mean_length", 700}, {"reward", 0.05}});
  EXPECT_EQ(longer.rule, "length_drift");
  EXPECT_THAT(longer.sentence, HasSubstr("700 tokens on average, after 204"));
  EXPECT_EQ(only_alarm(60, 41, {{"completions/mean_length", 50}, {"reward", 0.05}}).rule, "length_drift");
}

TEST(Health, LongerAnswersThatEarnMoreAreNoDrift) {
  EXPECT_THAT(alarms_of(60, 41, [](int64_t, Metrics& metrics) { metrics["completions/mean_length"] = 700; }),
              IsEmpty());
}

TEST(Health, OneScorerAgainstAnother) {
  const auto alarms = alarms_of(100, 51, [](int64_t step, Metrics& metrics) {
    const double share = static_cast<double>(step - 50) / 50;
    metrics["rewards/format/mean"] = 0.5 + 0.5 * share;
    metrics["rewards/math/mean"] = 0.5 - 0.4 * share;
  });
  ASSERT_EQ(alarms.size(), 1);
  EXPECT_EQ(alarms[0].rule, "scorers_apart");
  EXPECT_THAT(alarms[0].sentence, HasSubstr("the reward format rose from 0.555 to 0.955 while math fell "
                                            "from 0.456 to 0.136 over the last 50 steps"));
}

// 200 prompts, measured every ten steps: 0.6 of them is known to sqrt(0.6 * 0.4 / 200) = 0.0346.
std::vector<Alarm> alarms_of_held_out(double after, const Metrics& more = {}) {
  return alarms_of(70, 1, [&](int64_t step, Metrics& metrics) {
    if (step > 40) {
      for (const auto& [name, value] : more) metrics[name] = value;
    }
    if (step % 10 == 0) metrics.insert({{"eval_exact", step <= 40 ? 0.6 : after}, {"eval_prompts", 200}});
  });
}

TEST(Health, RewardsThatRiseWhileHeldOutAnswersGoWrong) {
  const auto alarms = alarms_of_held_out(0.45);  // 3 * sqrt(2) * 0.0346 = 0.147
  ASSERT_EQ(alarms.size(), 1);
  EXPECT_EQ(alarms[0].rule, "held_out_falls");
  EXPECT_EQ(alarms[0].since_step, 150);
  EXPECT_THAT(alarms[0].sentence, HasSubstr("right answers to 200 held-out prompts fell from 60 % to 45 %"));
  EXPECT_THAT(alarms[0].sentence, HasSubstr("the training reward rose from 0.12"));
}

TEST(Health, HeldOutAnswersThatFallByChanceOrWithTheRewardAreNoAlarm) {
  EXPECT_THAT(alarms_of_held_out(0.46), IsEmpty());
  EXPECT_THAT(alarms_of_held_out(0.3, {{"reward", 0.11}, {"completions/mean_length", 250}}), IsEmpty());
}

TEST(Health, AKnownScoreThatMoves) {
  const auto alarm =
      only_alarm(12, 11, {{"rewards/math/canary_error", 0.25}, {"rewards/format/canary_error", 0}});
  EXPECT_EQ(alarm.rule, "canary_moved");
  EXPECT_EQ(alarm.since_step, 111);
  EXPECT_EQ(alarm.sentence, "the reward math is not what it was: a known score is off by 0.25");
}

TEST(Health, CompletionsThatGoRoundInACircle) {
  const auto repetition = [](double before, double after) {
    return alarms_of(40, 1, [=](int64_t step, Metrics& metrics) {
      metrics["completions/repetition"] = step <= 20 ? before : after;
    });
  };
  const auto alarms = repetition(0.1, 0.7);
  ASSERT_EQ(alarms.size(), 1);
  EXPECT_EQ(alarms[0].rule, "repetition");
  EXPECT_THAT(alarms[0].sentence, HasSubstr("70 % of what completions say they had said before over the last "
                                            "10 steps, after 10 % in the first steps"));
  EXPECT_THAT(repetition(0.1, 0.4), IsEmpty());
  EXPECT_THAT(repetition(0.7, 0.7), IsEmpty());  // tables and the like
}

TEST(Health, AQueueThatNobodyEmpties) {
  const auto alarm = only_alarm(40, 30, {{"queue/age", 300}});
  EXPECT_EQ(alarm.rule, "stale_queue");
  EXPECT_EQ(alarm.since_step, 134);
  EXPECT_THAT(alarm.sentence, HasSubstr("300 s, 37.5 times as long as a step takes"));
}

TEST(Health, TheBottleneckIsNamed) {
  const auto learner = only_alarm(60, 41, {{"time/wait", 7.8}, {"queue/depth", 0}});
  EXPECT_EQ(learner.rule, "starving_learner");
  EXPECT_THAT(learner.sentence, HasSubstr("the actors are the bottleneck"));
  EXPECT_THAT(learner.sentence, HasSubstr("97.5 % of the time"));

  const auto actors = only_alarm(60, 41, {{"time/wait", 0.0}, {"queue/age", 7.5}});
  EXPECT_EQ(actors.rule, "starving_actors");
  EXPECT_THAT(actors.sentence, HasSubstr("the learner is the bottleneck"));
}

// The learner is never waited for, and the actors need half of each step: as it should be.
TEST(Health, ActorsThatAreBusyForHalfAStepDoNotStarve) {
  EXPECT_THAT(alarms_of(60, 1,
                        [](int64_t, Metrics& metrics) {
                          metrics["time/wait"] = 0;
                          metrics["queue/age"] = 4;
                        }),
              IsEmpty());
}

TEST(Health, NobodyStarvesInStepsOfASplitSecond) {
  EXPECT_THAT(alarms_of(60, 1,
                        [](int64_t, Metrics& metrics) {
                          metrics["step_time"] = 0.02;
                          metrics["time/wait"] = 0.02;
                          metrics["queue/age"] = 0.02;
                        }),
              IsEmpty());
}

TEST(Health, LogprobsThatDoNotMatch) {
  const auto alarm = only_alarm(40, 31, {{"sampling/logp_diff_mean", 0.3}});
  EXPECT_EQ(alarm.rule, "logprob_mismatch");
  EXPECT_EQ(alarm.since_step, 135);
  EXPECT_THAT(alarm.sentence, HasSubstr("0.3 off"));
  EXPECT_THAT(alarm.sentence, HasSubstr("a lag of 1 versions"));
}

TEST(Health, ADiskThatIsAlmostFull) {
  const auto alarm = only_alarm(2, 2, {{"disk/free_mb", 3000}});
  EXPECT_EQ(alarm.rule, "disk_low");
  EXPECT_THAT(alarm.sentence, HasSubstr("3000 MB are left"));
  EXPECT_EQ(only_alarm(2, 2, {{"disk/free_mb", 900}, {"disk/checkpoint_mb", 10}}).rule, "disk_low");
}

TEST(Health, ARuleThatIsOffIsSilent) {
  const auto empty = [](int64_t, Metrics& metrics) { metrics["disk/free_mb"] = 1; };
  EXPECT_THAT(alarms_of(3, 1, empty, {"disk_low"}), IsEmpty());
}

TEST(Health, AnAlarmEndsAfterTwentyStepsWithoutItsCause) {
  HealthWatch watch;
  auto metrics = healthy(1);
  metrics["disk/free_mb"] = 1;
  EXPECT_EQ(watch.after({.stage = "grpo", .step = 1, .metrics = metrics}).size(), 1);
  EXPECT_EQ(watch.raised().size(), 1);
  for (int64_t step = 2; step <= 20; ++step) {
    const auto& alarms = watch.after({.stage = "grpo", .step = step, .metrics = healthy(step)});
    ASSERT_EQ(alarms.size(), 1);
    EXPECT_EQ(alarms[0].since_step, 1);
    EXPECT_THAT(watch.raised(), IsEmpty());
  }
  EXPECT_THAT(watch.after({.stage = "grpo", .step = 21, .metrics = healthy(21)}), IsEmpty());
}

TEST(Health, AnotherStageStartsWithoutTheAlarmsOfTheOneBefore) {
  HealthWatch watch;
  auto metrics = healthy(1);
  metrics["disk/free_mb"] = 1;
  watch.after({.stage = "sft", .step = 1, .metrics = metrics});
  EXPECT_THAT(watch.after({.stage = "grpo", .step = 2, .metrics = healthy(2)}), IsEmpty());
}

TEST(Health, ARuleThatThereIsNotIsSaidWithTheNearest) {
  try {
    check_health_rules({"no_reward", "kl_blowup"}, "health.stop_on");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(),
                 "health.stop_on: there is no health rule \"kl_blowup\"; did you mean \"kl_blow_up\"?");
  }
}

TEST(Health, EveryRuleSaysWhenAndWhat) {
  for (const auto& rule : health_rules()) {
    for (const auto& words : {rule.when, rule.suggestion}) {
      EXPECT_FALSE(words.empty()) << rule.name;
      EXPECT_EQ(words.find('{'), std::string::npos) << rule.name << ": " << words;
    }
  }
}

// The table there is made from the rules: paste it.
TEST(Health, TheDocsHaveTheTableOfTheRules) {
  const auto page = read_file(std::string(SLUICE_SOURCE_DIR) + "/docs/monitoring.md");
  EXPECT_NE(page.find("\n" + health_reference()), std::string::npos) << health_reference();
}

}  // namespace
}  // namespace sluice::monitor
