// A run whose completions call the calculator: what it says is not learned from, and the same seed ends in
// the same weights.
#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

constexpr Millis kToolsMs = 300'000;

constexpr const char* kRecipe = R"(name = "tiny"
seed = 3
rewards = [{ use = "gsm8k" }]
tools = [{ use = "calculator" }]
model = { hidden_size = 64, layers = 2, heads = 4, intermediate_size = 128, max_position = 192 }
tokenizer = { train = "characters" }
monitor = { redis = "off" }

[data]
use = "gsm8k_notes"
path = "DATA/train.jsonl"
test_path = "DATA/test.jsonl"
calls = 1

[rollout]
prompts_per_step = 4
group_size = 4
max_new_tokens = 144
temperature = 0.5

[evaluation]
prompts = 8

[[stages]]
use = "sft"
steps = 160
batch = { examples_per_step = 16, max_length = 160, tag_weights = { tool_response = 0.0 } }
optim = { lr = 5e-3, warmup_steps = 10 }

[[stages]]
use = "grpo"
steps = 3
optim = { lr = 1e-4 }

[[stages]]
use = "eval"
)";

std::string weights_after(const Workspace& workspace, const std::vector<std::string>& overrides) {
  std::string recipe = kRecipe;
  for (size_t at; (at = recipe.find("DATA")) != std::string::npos;)
    recipe.replace(at, 4, SLUICE_SOURCE_DIR "/data/gsm8k");
  write_plain(workspace / "recipe.toml", recipe);
  std::vector<std::string> words = {"run", "recipe.toml"};
  words.insert(words.end(), overrides.begin(), overrides.end());
  Sluice run(workspace, words);
  EXPECT_EQ(run.exit_code(kToolsMs), 0) << run.out() << run.err();
  return read_json(workspace.run() / "stages" / "grpo.json").at("weights_sha256");
}

TEST(Tools, ARunCallsThemAndEndsInTheSameWeightsAgain) {
  const Workspace first, second;
  const auto weights = weights_after(first, {});
  double calls = 0;
  std::vector<double> differences;  // of the first group, computed again by the learner
  for (const auto& line : first.metrics()) {
    if (line.at("stage") != "grpo") continue;
    calls += line.at("tools/calls").get<double>();
    EXPECT_TRUE(line.contains("tools/failed") && line.contains("tools/time"));
    EXPECT_EQ(line.at("rewards/gsm8k/unscored_rate"), 0.0);
    if (line.contains("logprob_diff/max")) differences.push_back(line.at("logprob_diff/max"));
  }
  EXPECT_GT(calls, 10.0);
  EXPECT_EQ(differences, std::vector<double>{0.0});
  EXPECT_EQ(weights_after(second, {"grpo.rollout.actors=1"}), weights);
}

}  // namespace
}  // namespace sluice::app
