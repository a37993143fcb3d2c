// Runs whose numbers go wrong: what is borne, what is gone back from, and what ends the run with exit code 5.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "base/files.h"
#include "tests/app/sluice_process.h"
#include "tests/base/temp_folder.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// One policy stage from scratch on twelve rows, which come again and again.
void write_recipe(const Workspace& workspace, const std::string& stage) {
  std::string rows;
  for (const char* word : {"to", "be", "or", "not", "the", "so", "we", "he", "at", "it", "oh", "no"}) {
    const char* answer = word[0] == 't' || word[0] == 'o' ? "e" : "nothing at all";
    rows += Json{{"prompt", std::string(word) + " "}, {"completion", "e"}, {"answer", answer}}.dump() + "\n";
  }
  write_plain(workspace / "rows.jsonl", rows);
  write_plain(workspace / "guarded.toml", R"(name = "guarded"
seed = 5
monitor = { redis = "off" }
model = { hidden_size = 32, layers = 2, heads = 2, intermediate_size = 64, max_position = 64 }
tokenizer = { train = "characters" }
data = { path = "rows.jsonl" }
checkpoint = { every = 4 }

[[stages]]
)" + stage);
}

Json result_of(const Workspace& workspace, const std::string& stage) {
  return read_json(workspace.run("guarded") / "stages" / (stage + ".json"));
}

// Kills the run at the step and lets it go on; how it ends.
Finished kill_and_resume(const Workspace& workspace, const std::string& stage, int64_t step) {
  sluice_until(workspace, {"run", "guarded.toml"}, stage, step, SIGKILL, "guarded");
  return sluice(workspace, {"run", "guarded.toml", "--resume"});
}

// A right answer is worth more than float32 holds, so whoever finds one has a loss that is not finite.
constexpr const char* kPoison = R"(use = "grpo"
steps = 14
rewards = [{ use = "exact_answer", weight = 1e39 }]
rollout = { prompts_per_step = 4, group_size = 2, max_new_tokens = 1 }
algorithm = { beta = 0.05, advantage_scale = "none" }
optim = { lr = 1e-3 }
)";

TEST(Guards, APoisonedGroupIsQuarantinedAndItsStepSkipped) {
  const Workspace alone, killed;
  write_recipe(alone, kPoison);
  write_recipe(killed, kPoison);
  const auto run = sluice(alone, {"run", "guarded.toml"});
  ASSERT_EQ(run.code, 0) << run.out << run.err;

  const auto last = alone.metrics("guarded").back();
  EXPECT_TRUE(law_closes(last, "law/"));
  EXPECT_GE(last.at("law/quarantined"), 1.0);
  EXPECT_EQ(last.at("law/trained"), 56.0 - last.at("law/quarantined").get<double>());
  EXPECT_GE(last.at("skipped_steps"), 1.0);
  EXPECT_LT(last.at("skipped_steps"), 14.0);
  EXPECT_THAT(run.out,
              HasSubstr("was skipped as the loss of a token is not finite; quarantined: 1 of its 4 groups"));
  int64_t files = 0;
  for (const auto& file : fs::directory_iterator(alone.run("guarded") / "quarantine" / "grpo")) {
    ++files;
    EXPECT_EQ(read_json(file.path()).at("reason"), "the loss of a token is not finite");
  }
  EXPECT_EQ(files, last.at("law/quarantined").get<int64_t>());

  const auto resumed = kill_and_resume(killed, "grpo", 7);
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  EXPECT_EQ(result_of(killed, "grpo").at("weights_sha256"), result_of(alone, "grpo").at("weights_sha256"));
  EXPECT_EQ(result_of(killed, "grpo").at("law"), result_of(alone, "grpo").at("law"));
  EXPECT_EQ(killed.metrics("guarded").back().at("skipped_steps"), last.at("skipped_steps"));
}

constexpr const char* kOrdinary = R"(use = "grpo"
steps = 10
rewards = [{ use = "exact_answer" }]
rollout = { prompts_per_step = 4, group_size = 4, max_new_tokens = 2 }
algorithm = { beta = 0.05 }
optim = { lr = 1e-3 }
)";

TEST(Guards, AGroupWithALogprobThatIsNoneEndsInQuarantineAndItsActorGoesOn) {
  const Workspace workspace;
  write_recipe(workspace, kOrdinary);

  const auto run = sluice(workspace, {"run", "guarded.toml", "rollout.actors=1"},
                          {{"SLUICE_FAIL", "actor.logprob:50:nan"}});

  ASSERT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, testing::Not(HasSubstr("starting another")));
  const auto result = result_of(workspace, "grpo");
  EXPECT_EQ(result.at("law").at("quarantined"), 1);
  EXPECT_EQ(result.at("reasons"), (Json{{"the recorded log-prob of a token is not finite, or above 0", 1}}));
}

TEST(Guards, AWeightThatIsNotFiniteIsGoneBackFromBeforeItSpreads) {
  const Workspace workspace;
  write_recipe(workspace, kOrdinary);

  // The next process has two steps to go from the checkpoint behind step 8, and comes to no ninth.
  const auto run = sluice(workspace, {"run", "guarded.toml"}, {{"SLUICE_FAIL", "optimizer.weight:9:nan"}});

  ASSERT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_THAT(run.err,
              HasSubstr("the weights after step 9 are not all finite; it goes back to step 8, this once"));
  EXPECT_TRUE(law_closes(workspace.metrics("guarded").back(), "law/"));
}

TEST(Guards, ABrokenPolicyIsGoneBackFromOnceAndThenEndsTheRun) {
  const Workspace workspace;
  write_recipe(workspace, R"(use = "grpo"
steps = 60
rewards = [{ use = "length", target = 3 }]
rollout = { prompts_per_step = 4, group_size = 4, max_new_tokens = 6 }
optim = { lr = 10.0, weight_decay = 10.0 }
)");

  const auto run = sluice(workspace, {"run", "guarded.toml"});

  EXPECT_EQ(run.code, 5) << run.out << run.err;
  EXPECT_THAT(run.err, HasSubstr(", this once\n"));
  EXPECT_THAT(run.err, HasSubstr(" once already; the run is stopped"));
  for (const auto& line : workspace.metrics("guarded")) EXPECT_TRUE(law_closes(line, "law/")) << line;
}

TEST(Guards, AKlThatStaysAboveItsBoundEndsTheRunWithACheckpoint) {
  const Workspace workspace;
  write_recipe(workspace, R"(use = "grpo"
steps = 60
rewards = [{ use = "length", target = 3 }]
rollout = { prompts_per_step = 4, group_size = 4, max_new_tokens = 6 }
algorithm = { beta = 1e-6 }
guard = { max_kl = 1e-4 }
optim = { lr = 1e-2 }
)");

  const auto run = sluice(workspace, {"run", "guarded.toml"});

  EXPECT_EQ(run.code, 5) << run.out << run.err;
  EXPECT_THAT(run.err, HasSubstr("grpo: the KL was above guard.max_kl 0.0001 for 3 steps"));
  const auto metrics = workspace.metrics("guarded");
  ASSERT_GE(metrics.size(), 3u);
  for (size_t i = metrics.size() - 3; i < metrics.size(); ++i) EXPECT_GT(metrics[i].at("kl"), 1e-4);
  const auto state = read_json(workspace.run("guarded") / "checkpoints" / "latest" / "state" / "state.json");
  EXPECT_EQ(state.at("step"), metrics.back().at("step"));
}

// Group 4 s is of step s, so the known scores are looked at in every step.
TEST(Guards, AKnownScoreThatIsOffIsSaid) {
  const Workspace workspace;
  write_recipe(workspace, R"(use = "grpo"
steps = 2
rewards = [{ use = "exact_answer" }]
rollout = { prompts_per_step = 4, group_size = 2, max_new_tokens = 1 }
guard = { canaries = "canaries.jsonl", canaries_every = 4 }
)");
  const std::string right =
      R"({"prompt": "a ", "completion": "e", "answer": "e", "scores": {"exact_answer": 1}})";
  const std::string wrong =
      R"({"prompt": "a ", "completion": "e", "answer": "e", "scores": {"exact_answer": 0.25}})";
  write_plain(workspace / "canaries.jsonl", right + "\n");
  const auto still = sluice(workspace, {"run", "guarded.toml", "--name", "still"});
  EXPECT_EQ(still.code, 0) << still.err;
  EXPECT_THAT(still.out, testing::Not(HasSubstr("is not what it was")));
  for (const auto& line : workspace.metrics("still")) {
    EXPECT_EQ(line.at("rewards/exact_answer/canary_error"), 0.0);
    EXPECT_GT(line.at("rewards/exact_answer/seconds_p95"), 0.0);
  }

  write_plain(workspace / "canaries.jsonl", right + "\n" + wrong + "\n");
  const auto moved = sluice(workspace, {"run", "guarded.toml", "--name", "moved"});
  EXPECT_EQ(moved.code, 0) << moved.err;
  EXPECT_THAT(moved.out,
              HasSubstr("canary_moved: the reward exact_answer is not what it was: a known score is "
                        "off by 0.75"));
  const auto second = workspace.metrics("moved").at(1);
  EXPECT_EQ(second.at("rewards/exact_answer/canary_error"), 0.75);
  EXPECT_EQ(second.at("alarms").at(0).at("rule"), "canary_moved");

  const auto stopped = sluice(
      workspace, {"run", "guarded.toml", "--name", "stopped", "health={ stop_on = [\"canary_moved\"] }"});
  EXPECT_EQ(stopped.code, 5) << stopped.out << stopped.err;

  write_plain(workspace / "canaries.jsonl", R"({"completion": "e", "scores": {"exact": 1}})");
  const auto broken = sluice(workspace, {"check", "guarded.toml"});
  EXPECT_EQ(broken.code, 3);
  EXPECT_THAT(broken.err, HasSubstr("canaries.jsonl:1: the recipe has no reward \"exact\""));
}

TEST(Guards, WhatAStageCarriesComesBackExactly) {
  const std::string stage = R"(use = "spo"
steps = 14
rewards = [{ use = "length", target = 3 }]
rollout = { prompts_per_step = 8, max_new_tokens = 6 }
algorithm = { beta = 0.05, kl_target = 0.01, kl_horizon = 40, entropy_target = 3.0, entropy_bonus = 0.01 }
optim = { lr = 3e-3 }
)";
  const Workspace alone, killed;
  write_recipe(alone, stage);
  write_recipe(killed, stage);
  const auto run = sluice(alone, {"run", "guarded.toml"});
  ASSERT_EQ(run.code, 0) << run.out << run.err;

  const auto resumed = kill_and_resume(killed, "spo", 10);

  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  EXPECT_EQ(result_of(killed, "spo").at("weights_sha256"), result_of(alone, "spo").at("weights_sha256"));
  const auto expected = alone.metrics("guarded"), metrics = killed.metrics("guarded");
  ASSERT_EQ(metrics.size(), 14u);
  for (size_t i = 0; i < metrics.size(); ++i) {
    for (const char* name : {"kl_coef", "entropy_coef", "advantages/max", "loss"}) {
      EXPECT_EQ(metrics[i].at(name), expected[i].at(name)) << name << " of step " << i + 1;
    }
  }
  EXPECT_NE(expected.back().at("kl_coef"), 0.05);
  EXPECT_NE(expected.back().at("entropy_coef"), 0.0);
  const auto memory = read_json(alone.run("guarded") / "checkpoints" / "latest" / "state" / "learner.json");
  EXPECT_EQ(memory.at("values").at("prompts").size(), 12u);
}

}  // namespace
}  // namespace sluice::app
