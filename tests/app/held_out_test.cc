// A policy stage that asks held-out prompts on the way: it learns the same, and a reward that is gamed shows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

using testing::HasSubstr;

constexpr const char* kRecipe = R"(name = "tiny"
seed = 3
model = { hidden_size = 32, layers = 2, heads = 2, intermediate_size = 64, max_position = 64 }
tokenizer = { train = "characters" }
data = { path = "sums.jsonl", test_path = "sums.jsonl" }
rollout = { prompts_per_step = 8, group_size = 8, max_new_tokens = 4 }
rewards = [{ use = "exact_answer", weight = 0 }, { use = "regex", pattern = "7" }]
monitor = { redis = "off" }

[[stages]]
use = "sft"
steps = 250
batch = { examples_per_step = 32 }
optim = { lr = 1e-2 }

[[stages]]
use = "grpo"
steps = 40
optim = { lr = 1e-3 }
evaluation = { every = 5, prompts = 50 }
)";

void write_task(const Workspace& workspace) {
  std::string rows;
  for (int a = 0; a < 10; ++a) {
    for (int b = 0; a + b < 10; ++b) {
      const auto prompt = std::to_string(a) + "+" + std::to_string(b) + "=";
      const auto answer = std::to_string(a + b);
      rows += Json({{"prompt", prompt}, {"completion", answer}, {"answer", answer}}).dump() + "\n";
    }
  }
  write_plain(workspace / "sums.jsonl", rows);
  write_plain(workspace / "recipe.toml", kRecipe);
}

std::string weights_of(const Workspace& workspace, const std::string& name) {
  return read_json(workspace.run(name) / "stages" / "grpo.json").at("weights_sha256");
}

// Sevens are all that pays: the policy that knew most sums says seven.
TEST(HeldOutPrompts, TellAPolicyThatPleasesItsRewardFromOneThatIsRight) {
  const Workspace workspace;
  write_task(workspace);
  const auto run = sluice(workspace, {"run", "recipe.toml"});
  ASSERT_EQ(run.code, 0) << run.out << run.err;

  std::vector<double> exact;
  for (const auto& line : workspace.metrics()) {
    const auto step = line.at("stage_step").get<int64_t>();
    const bool asked = line.at("stage") == "grpo" && (step == 1 || step % 5 == 0);
    EXPECT_EQ(line.contains("eval_exact"), asked) << line;
    if (!asked) continue;
    exact.push_back(line.at("eval_exact"));
    EXPECT_EQ(line.at("eval_prompts"), 50);
    EXPECT_EQ(line.at("eval_rewards/exact_answer/mean"), line.at("eval_exact"));
    EXPECT_EQ(line.at("eval_reward"), line.at("eval_rewards/regex/mean"));
    EXPECT_TRUE(line.contains("time/evaluate"));
  }
  ASSERT_EQ(exact.size(), 9u);
  EXPECT_GT(exact.front(), exact.back() + 0.3);
  EXPECT_THAT(run.out, HasSubstr("held_out_falls: the training reward rose from"));
  EXPECT_THAT(run.out, HasSubstr("while right answers to 50 held-out prompts fell from"));
}

TEST(HeldOutPrompts, ChangeNoWeight) {
  const Workspace workspace;
  write_task(workspace);
  const std::vector<std::string> few = {"sft.steps=10", "grpo.steps=6"};
  const auto with =
      sluice(workspace, {"run", "recipe.toml", "--name", "with", few[0], few[1], "grpo.evaluation.every=2"});
  ASSERT_EQ(with.code, 0) << with.out << with.err;
  const auto without = sluice(
      workspace, {"run", "recipe.toml", "--name", "without", few[0], few[1], "grpo.evaluation.every=0"});
  ASSERT_EQ(without.code, 0) << without.out << without.err;

  EXPECT_EQ(weights_of(workspace, "with"), weights_of(workspace, "without"));
  EXPECT_FALSE(workspace.metrics("without").back().contains("eval_reward"));
}

// As everything that a recipe names, before there is a run.
TEST(HeldOutPrompts, AreCheckedBeforeARunBegins) {
  const Workspace workspace;
  write_task(workspace);
  write_plain(workspace / "long.jsonl",
              Json({{"prompt", std::string(80, '1')}, {"answer", "1"}}).dump() + "\n");
  const auto check = sluice(workspace, {"check", "recipe.toml", "grpo.data.test_path=\"long.jsonl\""});
  EXPECT_EQ(check.code, 3) << check.out;
  EXPECT_THAT(check.err, HasSubstr("long.jsonl:1: the prompt has 80 tokens"));
}

}  // namespace
}  // namespace sluice::app
