// `sluice compare` on run directories whose figures are written by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr const char* kRecipe = R"(
rewards = [{ use = "exact_answer" }]
data = { use = "digits" }
tokenizer = { train = "characters" }
[[stages]]
use = "sft"
steps = 2
[[stages]]
use = "eval"
name = "eval_before"
[[stages]]
use = "grpo"
steps = 12
[[stages]]
use = "eval"
name = "eval_after"
)";

class Runs {
 public:
  Runs() {
    write_plain(workspace_ / "compared.toml", kRecipe);
    const auto check = sluice(workspace_, {"check", "compared.toml", "--json"});
    EXPECT_EQ(check.code, 0) << check.err;
    recipe_ = check.out;
  }

  // A run whose policy stage has these rewards, one a step, after two supervised steps.
  fs::path make(const std::string& name, const std::vector<double>& rewards) const {
    const fs::path run = workspace_.run(name);
    fs::create_directories(run / "stages");
    write_plain(run / "recipe.resolved.json", recipe_);
    write_plain(run / "run.json", R"({"id": "1"})");
    const auto line = [](const std::string& stage, size_t step, const std::string& metric, double value) {
      return Json{{"schema", 1},      {"stage", stage},   {"step", step}, {"stage_step", step},
                  {"stage_steps", 9}, {"wall_time", 1.5}, {metric, value}}
                 .dump() +
             "\n";
    };
    std::string lines = line("sft", 1, "loss", 2) + line("sft", 2, "loss", 1);
    for (size_t i = 0; i < rewards.size(); ++i) {
      lines += line("grpo", i + 3, "reward", rewards[i]);
    }
    write_plain(run / "metrics.jsonl", lines);
    return run;
  }

  void evaluated(const fs::path& run, const std::string& stage, double reward) const {
    const Json eval = {{"metric", "reward"}, {"value", reward}};
    write_plain(run / "stages" / (stage + ".json"), Json{{"evals", Json::array({eval})}}.dump());
  }

  Finished compare(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "compare");
    return sluice(workspace_, arguments);
  }
  const Workspace& workspace() const { return workspace_; }

 private:
  Workspace workspace_;
  std::string recipe_;
};

TEST(Compare, MeansAndEvaluationsOfEachRun) {
  const Runs runs;
  const auto done = runs.make("done", {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2});
  runs.evaluated(done, "eval_before", 0.25);
  runs.evaluated(done, "eval_after", 0.5);
  const auto running = runs.make("running", {0.5});
  runs.evaluated(running, "eval_before", 0.125);
  write_plain(running / "stages/eval_after.json", R"({"counts": {}})");  // of a stage that measures nothing
  write_plain(running / "metrics.jsonl", read_file(running / "metrics.jsonl") + "{\"schema\": 1, \"st");

  const auto json = runs.compare({done, running, "--json"});
  ASSERT_EQ(json.code, 0) << json.err;
  const Json report = parse_json(json.out, "compare");
  ASSERT_EQ(report.size(), 2u);
  EXPECT_EQ(report[0]["run"], "done");
  EXPECT_EQ(report[0]["steps"], 12);
  EXPECT_NEAR(report[0]["mean"], 0.65, 1e-12);
  EXPECT_NEAR(report[0]["final"], 0.75, 1e-12);  // of 0.3 to 1.2, the last ten
  EXPECT_EQ(report[0]["before"], 0.25);
  EXPECT_EQ(report[0]["after"], 0.5);
  EXPECT_EQ(report[0]["points"][0], Json({1, 0.1}));  // steps count from the first that has a reward
  EXPECT_EQ(report[0]["points"][11], Json({12, 1.2}));
  EXPECT_EQ(report[1]["steps"], 1);
  EXPECT_EQ(report[1]["before"], 0.125);
  EXPECT_EQ(report[1]["after"], nullptr);

  const auto table = runs.compare({done, running});
  EXPECT_THAT(table.out, HasSubstr("run         steps      mean     final    before     after\n"
                                   "done           12      0.65      0.75      0.25       0.5\n"
                                   "running         1       0.5       0.5     0.125         -\n"));
}

TEST(Compare, DrawsTheCurvesOfAnyMetric) {
  const Runs runs;
  const auto first = runs.make("first", {0.5}), second = runs.make("second", {});
  const auto done = runs.compare({first, second, "--metric", "loss", "--svg", "curves.svg"});

  ASSERT_EQ(done.code, 0) << done.err;
  const auto svg = read_file(runs.workspace() / "curves.svg");
  EXPECT_TRUE(svg.starts_with("<svg "));
  for (const char* text : {">loss</text>", ">first</text>", ">second</text>"})
    EXPECT_THAT(svg, HasSubstr(text));
}

TEST(Compare, SaysWhatIsMissing) {
  const Runs runs;
  const auto run = runs.make("run", {0.5});

  const auto metric = runs.compare({run, "--metric", "rewrd"});
  EXPECT_EQ(metric.code, 2);
  EXPECT_EQ(metric.err,
            "sluice: compare: no run has a step with the metric \"rewrd\"; did you mean \"reward\"?\n");
  const auto folder = runs.compare({run, "nowhere"});
  EXPECT_EQ(folder.code, 3);
  EXPECT_THAT(folder.err, HasSubstr("nowhere is no run directory"));
}

}  // namespace
}  // namespace sluice::app
