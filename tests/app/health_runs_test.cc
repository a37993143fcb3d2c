// Every health rule on a run made to have that illness, and none of them on the healthy demo.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/files.h"
#include "monitor/health.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;

constexpr const char* kRewards = R"(import json
import time


def letter_e(completions, **_):
    return [text.count("e") / 48 for text in completions]


def variety(completions, **_):
    return [len(set(text)) / 48 for text in completions]


# Of its group: the mean is 0, however short all become.
def shortest(completions, **_):
    mean = sum(map(len, completions)) / len(completions)
    return [(mean - len(text)) / 48 for text in completions]


groups = 0


def off_scale(completions, **_):
    global groups
    groups += 1
    return [score * (1 if groups <= 100 else 1000) for score in letter_e(completions)]


# Fourteen times as slow as the learner of late, which works the longer the busier the machine is.
def slow(completions, **_):
    lines = [line for line in open("runs/slow_scorer/metrics.jsonl") if line.endswith("\n")]
    steps = [json.loads(line) for line in lines]
    works = [step["step_time"] - step["time/wait"] for step in steps if "time/wait" in step]
    time.sleep(14 * max(works[-3:], default=0.03))
    return variety(completions)
)";

struct Illness {
  const char* name;
  std::vector<std::string> overrides;
  std::set<std::string> rules;  // that see it; others may
};

const std::vector<Illness>& illnesses() {
  static const std::vector<Illness> all{
      {"one_letter",  // pays as much for its place among others, until nothing else is said
       {"grpo.steps=56", "grpo.optim.lr=0.05", "grpo.algorithm={beta=1e-6}",
        R"(rewards=[{python="ill.py:letter_e"}, {python="ill.py:variety", weight=0.1}])"},
       {"truncated", "scorers_apart", "entropy_collapse", "repetition"}},
      {"huge_lr",
       {"grpo.steps=25", "grpo.optim={lr=2, warmup_steps=40}", "grpo.algorithm={beta=1e-6}",
        R"(rewards=[{python="ill.py:letter_e"}])"},
       {"kl_blow_up", "logprob_mismatch"}},
      {"off_scale",  // from step 26 on, and nothing brings the rewards back to one
       {"grpo.steps=30", "rollout.actors=1", R"(grpo.algorithm={advantage_scale="none"})",
        R"(rewards=[{python="ill.py:off_scale", scope="group", workers=1}])"},
       {"grad_norm_blow_up"}},
      {"length",
       {"grpo.steps=40", "grpo.optim.lr=0.02", "grpo.algorithm={beta=1e-6}",
        R"(rewards=[{python="ill.py:shortest", scope="group"}])"},
       {"length_drift"}},
      {"slow_scorer",
       {"grpo.steps=23", "rollout={actors=1, prompts_per_step=1, group_size=4, max_new_tokens=16}",
        R"(rewards=[{python="ill.py:slow", scope="group"}])"},
       {"starving_learner"}},
      {"slow_learner",
       {"grpo.steps=32", "rollout.staleness=8", "grpo.algorithm={beta=1e-6, epochs=32}",
        "grpo.optim.lr=1e-5"},
       {"starving_actors", "stale_queue"}},
      {"never_right",
       {"grpo.steps=23", R"(rewards=[{use="regex", pattern="[0-9]{40}"}])",
        R"(grpo.health={stop_on=["no_reward"]})"},
       {"equal_rewards", "no_reward"}},
  };
  return all;
}

std::vector<std::string> command_of(const Illness& illness) {
  std::vector<std::string> words{"run",
                                 "recipe.toml",
                                 "--name",
                                 illness.name,
                                 "sft.steps=2",
                                 "checkpoint.every=1000",
                                 "monitor={redis=\"off\", web=false, tensorboard=false}"};
  words.insert(words.end(), illness.overrides.begin(), illness.overrides.end());
  return words;
}

// As sluice() does, on a machine that has much else to do.
Finished run_to_end(const Workspace& workspace, const std::vector<std::string>& command) {
  Sluice run(workspace, command);
  const int code = run.exit_code(4 * kLongMs);
  return {code, run.out(), run.err()};
}

// All that were raised in the run.
std::set<std::string> alarms_of(const std::vector<Json>& metrics) {
  std::set<std::string> rules;
  for (const auto& line : metrics) {
    for (const auto& alarm : line.value("alarms", Json::array()))
      rules.insert(alarm.at("rule").get<std::string>());
  }
  return rules;
}

void expect_doctor_names(const Workspace& workspace, const std::string& run,
                         const std::set<std::string>& rules) {
  const auto doctor = sluice(workspace, {"doctor", "runs/" + run});
  EXPECT_EQ(doctor.code, 1) << doctor.out << doctor.err;
  for (const auto& rule : rules) EXPECT_THAT(doctor.out, HasSubstr("alarm       " + rule));
}

TEST(HealthRuns, EveryRuleSeesItsIllness) {
  const Workspace workspace;
  write_plain(workspace / "ill.py", kRewards);
  // In the next test, in held_out_test.cc and in guards_test.cc.
  std::set<std::string> seen{"disk_low", "held_out_falls", "canary_moved"};
  for (const auto& illness : illnesses()) {
    SCOPED_TRACE(illness.name);
    const bool stops = illness.name == std::string("never_right");
    const auto run = run_to_end(workspace, command_of(illness));
    EXPECT_EQ(run.code, stops ? 5 : 0) << run.err;
    if (stops) {
      EXPECT_THAT(run.err, AllOf(HasSubstr("no_reward"), HasSubstr("health.stop_on")));
    }
    EXPECT_THAT(alarms_of(workspace.metrics(illness.name)), IsSupersetOf(illness.rules));
    expect_doctor_names(workspace, illness.name, illness.rules);
    seen.insert(illness.rules.begin(), illness.rules.end());
  }
  for (const auto& rule : monitor::health_rules()) EXPECT_TRUE(seen.contains(rule.name)) << rule.name;
}

// On a disk of 200 MB: a file system in memory, which needs a user who may mount one.
TEST(HealthRuns, ADiskThatIsAlmostFullIsSeen) {
  const Workspace workspace;
  const auto private_mounts = [&](const std::string& script) {
    return Subprocess::start({.command = {"unshare", "-rm", "sh", "-c",
                                          "mount -t tmpfs -o size=200m tmpfs runs && " + script},
                              .working_directory = workspace / "",
                              .output = workspace / "disk.out"})
        .wait(2 * kLongMs);
  };
  fs::create_directory(workspace / "runs");
  if (!private_mounts("true").value().ok()) GTEST_SKIP() << read_file(workspace / "disk.out");
  const auto ended = private_mounts(
      SLUICE_BINARY " run recipe.toml sft.steps=2 grpo.steps=2 monitor.redis=off && " SLUICE_BINARY
                    " doctor runs/tiny");
  const auto said = read_file(workspace / "disk.out");
  EXPECT_EQ(ended.value().code, 1) << said;  // as the doctor has it
  EXPECT_THAT(said, AllOf(HasSubstr("alarm: sft: disk_low: "), HasSubstr("alarm       disk_low")));
}

TEST(HealthyRun, RaisesNoAlarm) {
  const Workspace workspace;
  const auto recipe = fs::path(SLUICE_SOURCE_DIR) / "recipes" / "shakespeare_words.toml";
  const auto run = run_to_end(
      workspace, {"run", recipe.string(), "--name", "demo", "sft.batch.examples_per_step=8", "sft.steps=20",
                  "grpo.steps=25", "rollout.prompts_per_step=2", "evaluation.prompts=2",
                  "monitor={redis=\"off\", web=false, tensorboard=false}"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(alarms_of(workspace.metrics("demo")), IsEmpty());
}

}  // namespace
}  // namespace sluice::app
