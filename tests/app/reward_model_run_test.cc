// The shipped reward model recipe in short: killed in the middle of the reward model, it ends in the same
// bits, and the policy behind it learns from the model's scores.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

const std::vector<std::string> kShort = {"run",
                                         SLUICE_SOURCE_DIR "/recipes/reward_model.toml",
                                         "--name",
                                         "tiny",
                                         "--resume",
                                         "monitor.redis=off",
                                         "model.hidden_size=32",
                                         "model.layers=2",
                                         "model.intermediate_size=64",
                                         "evaluation.prompts=8",
                                         "sft.steps=4",
                                         "reward_model.steps=12",
                                         "reward_model.checkpoint.every=4",
                                         "grpo.steps=2",
                                         "rollout.prompts_per_step=4"};

std::string weights_of(const Workspace& workspace, const std::string& directory) {
  return sha256_file(workspace.run() / "checkpoints" / directory / "model.safetensors");
}

// A finished run that nothing happened to.
const Workspace& undisturbed() {
  static const Workspace workspace;
  static const auto run = sluice(workspace, kShort);
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  return workspace;
}

TEST(RewardModelRun, KilledAndResumedItEndsInTheSameRewardModelAndPolicy) {
  const auto& alone = undisturbed();
  const Workspace killed;
  sluice_until(killed, kShort, "reward_model", 6, SIGKILL);  // a checkpoint at 4
  const auto resumed = sluice(killed, kShort);
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;

  EXPECT_EQ(weights_of(killed, "step_000016/reward_model"), weights_of(alone, "step_000016/reward_model"));
  EXPECT_EQ(weights_of(killed, "latest/hf"), weights_of(alone, "latest/hf"));
  EXPECT_EQ(weights_of(alone, "step_000016/hf"), weights_of(alone, "step_000004/hf"));
  EXPECT_NE(weights_of(alone, "latest/hf"), weights_of(alone, "step_000004/hf"));
}

TEST(RewardModelRun, ThePolicyIsScoredByTheModelWithinItsClip) {
  const auto& workspace = undisturbed();
  bool scored = false;
  for (const auto& line : workspace.metrics()) {
    if (line.at("stage") != "grpo") continue;
    scored = true;
    EXPECT_LE(std::abs(line.at("rewards/reward_model/mean").get<double>()), 3.0);
    EXPECT_NE(line.at("reward"), 0.0);
  }
  EXPECT_TRUE(scored);
  const Json summary = read_json(workspace.run() / "summary.json");
  const auto& evals = summary.at("evals");
  EXPECT_TRUE(std::any_of(evals.begin(), evals.end(),
                          [](const Json& eval) { return eval.at("metric") == "pair_accuracy"; }));
}

TEST(RewardModelRun, InAProcessOfItsOwnTheModelSaysTheSame) {
  const Workspace workspace;
  auto command = kShort;
  command.push_back("grpo.rewards=[{use=\"reward_model\", stage=\"reward_model\", clip=3, process=true}]");
  const auto run = sluice(workspace, command);
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_EQ(weights_of(workspace, "latest/hf"), weights_of(undisturbed(), "latest/hf"));
}

}  // namespace
}  // namespace sluice::app
