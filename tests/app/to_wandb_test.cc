// tools/to_wandb.py with modules in the place of those it sends to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/captured_run.h"
#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(ToWandb, SendsEveryStepToEither) {
  const Workspace workspace;
  fs::create_directories(workspace / "modules");
  write_plain(
      workspace / "modules/wandb.py",
      "def init(**what):\n    print('init', what['project'], what['name'])\n    return Run()\n"
      "class Run:\n    def log(self, metrics, step):\n        print('log', step, sorted(metrics.items()))\n");
  write_plain(workspace / "modules/mlflow.py",
              "set_experiment = start_run = log_dict = lambda *a, **k: None\n"
              "def log_metrics(metrics, step):\n    print('mlflow', step, sorted(metrics))\n");
  write_plain(workspace / "metrics.jsonl",
              "{\"schema\": 1, \"stage\": \"grpo\", \"step\": 4, \"reward\": 0.5, \"rewards/a/mean\": 0.25, "
              "\"kl\": null}\n"
              "{\"schema\": 1, \"stage\": \"gr");  // being written
  write_plain(workspace / "recipe.resolved.json", "{\"name\": \"tiny\"}");
  const auto send = [&](std::vector<std::string> more) {
    more.insert(more.begin(),
                {"python3", (fs::path(SLUICE_SOURCE_DIR) / "tools" / "to_wandb.py").string(), "."});
    return run_captured(
        {.command = more,
         .environment = {{"PYTHONPATH", workspace / "modules"}, {"PYTHONDONTWRITEBYTECODE", "1"}},
         .working_directory = workspace / ""},
        {});
  };
  const auto wandb = send({});
  EXPECT_EQ(wandb.errors, "");
  EXPECT_EQ(wandb.output, "init sluice tiny\nlog 4 [('reward', 0.5), ('rewards/a/mean', 0.25)]\n");
  EXPECT_EQ(send({"--mlflow"}).output, "mlflow 4 ['reward', 'rewards.a.mean']\n");
}

}  // namespace
}  // namespace sluice::app
