// Stages that hand each other data: what a model said and was right about teaches it, and a student its
// teacher.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "base/json_lines.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kLoop = R"(rewards = [{ use = "exact_answer" }]
monitor = { redis = "off" }
model = { hidden_size = 32, layers = 1, heads = 2, intermediate_size = 64, max_position = 16 }
tokenizer = { train = "characters" }
data = { path = "sums.jsonl", test_path = "sums.jsonl" }
rollout = { prompts_per_step = 8, group_size = 4, max_new_tokens = 3 }
batch = { examples_per_step = 32, max_length = 16 }
optim = { lr = 3e-3 }
checkpoint = { every = 3 }

[[stages]]
use = "sft"
steps = 60

[[stages]]
use = "rejection_sampling"
name = "best"

[[stages]]
use = "sft"
name = "learn"
steps = 4
data = { from = "best", min_pass_rate = 0.1, order_by = "pass_rate" }

[[stages]]
use = "rejection_sampling"
name = "pairs"
samples = { pairs = true, per_prompt = 2 }

[[stages]]
use = "dpo"
steps = 3
data = { from = "pairs" }
optim = { lr = 1e-4 }

[[stages]]
use = "grpo"
steps = 8
data = { from = "best" }
rollout = { replay = 0.5, replay_below = 0.9 }
optim = { lr = 1e-4 }
)";

const std::string kDistill = R"(monitor = { redis = "off" }
model = { hidden_size = 16, layers = 1, heads = 2, intermediate_size = 32, max_position = 16 }
tokenizer = { path = "runs/loop/checkpoints/latest/hf" }
data = { path = "sums.jsonl" }
batch = { examples_per_step = 32, max_length = 16 }
optim = { lr = 1e-2 }

[[stages]]
use = "distill"
steps = 60
teacher = { path = "runs/loop/checkpoints/latest/hf" }
)";

// All sums of two digits below 5.
struct DataLoop : testing::Test {
  DataLoop() {
    std::string rows;
    for (int a = 0; a < 5; ++a) {
      for (int b = 0; b < 5; ++b) {
        const std::string sum = std::to_string(a + b);
        rows += Json{{"prompt", std::to_string(a) + "+" + std::to_string(b) + "="},
                     {"completion", sum},
                     {"answer", sum}}
                    .dump() +
                "\n";
      }
    }
    write_plain(workspace / "sums.jsonl", rows);
    write_plain(workspace / "loop.toml", kLoop);
    write_plain(workspace / "student.toml", kDistill);
  }

  Json result(const std::string& stage) const {
    return read_json(workspace.run("loop") / "stages" / (stage + ".json"));
  }

  const Workspace workspace;
};

TEST_F(DataLoop, RunsFromAColdStartToGrpoAndAStudentFollows) {
  const auto check = sluice(workspace, {"check", "loop.toml"});
  EXPECT_EQ(check.code, 0) << check.err;
  EXPECT_THAT(check.out, HasSubstr("  learn: what best keeps\n"));

  const auto run = sluice(workspace, {"run", "loop.toml"});
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("best: 25 prompts, 100 completions: "));
  int64_t rows = 0;
  for_each_json_line(workspace.run("loop") / "samples/best.jsonl", [&](int64_t, const Json& row) {
    ++rows;
    EXPECT_THAT(row.at("completion").get<std::string>(), HasSubstr(row.at("answer").get<std::string>()));
  });
  EXPECT_EQ(result("best").at("counts").at("samples/kept"), rows);
  const Json summary = read_json(workspace.run("loop") / "summary.json");
  EXPECT_EQ(summary.at("stages").at(1).at("counts").at("samples/kept"), rows);
  double replayed = 0.0;
  for (const auto& line : workspace.metrics("loop")) {
    if (line.at("stage") == "grpo") replayed += line.at("replayed").get<double>();
  }
  EXPECT_GT(replayed, 0.0);

  const auto student = sluice(workspace, {"run", "student.toml"});
  ASSERT_EQ(student.code, 0) << student.out << student.err;
  const auto metrics = workspace.metrics("student");
  EXPECT_LT(metrics.back().at("kl").get<double>(), 0.5 * metrics.front().at("kl").get<double>());

  write_plain(workspace / "other.jsonl", "{\"prompt\": \"x=\", \"completion\": \"y\"}\n");
  std::string other = kDistill;
  other.replace(other.find("path = \"runs"), other.find("hf\" }") + 4 - other.find("path = \"runs"),
                "train = \"characters\"");
  write_plain(workspace / "stranger.toml", other);
  const auto refused = sluice(workspace, {"check", "stranger.toml", "data.path=other.jsonl"});
  EXPECT_EQ(refused.code, 3);
  EXPECT_THAT(refused.err, HasSubstr("has another tokenizer than the model that is trained"));
}

// Hard prompts come again in the same places of a run that was killed.
TEST_F(DataLoop, ReplayEndsInTheSameWeightsAfterAKill) {
  const std::vector<std::string> arguments{"run", "loop.toml", "--resume", "sft.steps=30"};
  auto killed = arguments;
  killed.insert(killed.end(), {"--name", "killed"});
  const auto whole = sluice(workspace, arguments);
  ASSERT_EQ(whole.code, 0) << whole.out << whole.err;
  sluice_until(workspace, killed, "grpo", 5, SIGKILL, "killed");  // a checkpoint at 3
  const auto resumed = sluice(workspace, killed);
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  EXPECT_EQ(read_json(workspace.run("killed") / "stages/grpo.json").at("weights_sha256"),
            result("grpo").at("weights_sha256"));
}

}  // namespace
}  // namespace sluice::app
