#include "recipes/report.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/files.h"
#include "monitor/jsonl_sink.h"
#include "recipes/run_record.h"
#include "tests/recipes/recipe_folder.h"

namespace sluice::recipes {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kHostile = "<img src=x onerror=alert(1)>\x1b[2J\xff & \"so\"";
constexpr const char* kInert =
    "&lt;img src=x onerror=alert(1)&gt;\xEF\xBF\xBD[2J\xEF\xBF\xBD &amp; &quot;so&quot;";

class RunReportTest : public testing::Test {
 protected:
  Json evaluation(const std::string& name, double reward, const std::string& completion) {
    return {
        {"name", name},
        {"use", "eval"},
        {"steps", 0},
        {"seconds", 1.5},
        {"evals", {{{"split", "test"}, {"metric", "reward"}, {"value", reward}, {"stderr", 0.01}, {"n", 8}}}},
        {"samples", {{{"prompt", kHostile}, {"completion", completion}}}}};
  }

  RecipeFolder folder_;
  const Recipe recipe_ = folder_.load(
      "data = { use = \"text\", path = \"corpus.txt\" }\ntokenizer = { train = \"characters\" }\n"
      "rewards = [{ use = \"real_words\" }]\n[[stages]]\nuse = \"eval\"\nname = \"before\"\n[[stages]]\nuse "
      "= "
      "\"grpo\"\nsteps = 4\n[[stages]]\nuse = \"eval\"\nname = \"after\"\n",
      {"name=told"});
  const OpenedRun run_ = open_run(folder_.path() / "runs", recipe_, false);
};

TEST_F(RunReportTest, ARunThatDidNothingHasOne) {
  EXPECT_THAT(run_report(run_.directory, recipe_),
              AllOf(HasSubstr("<h1>told</h1>"), HasSubstr(">runs/told, run "), HasSubstr("Alarms"),
                    HasSubstr("<h2>Recipe</h2>"), HasSubstr("</html>")));
}

TEST_F(RunReportTest, ShowsTheRecipeWithoutAPassword) {
  auto recipe = recipe_;
  recipe.monitor.redis = "redis://ada:s3cret@localhost:7000";
  recipe.resolved["monitor"]["redis"] = recipe.monitor.redis;
  EXPECT_THAT(run_report(run_.directory, recipe),
              AllOf(HasSubstr("***@localhost:7000"), Not(HasSubstr("s3cret"))));
}

TEST_F(RunReportTest, SaysWhatTheRunCameTo) {
  {
    monitor::JsonlSink sink(run_.directory.metrics(), 0);
    for (int64_t step = 1; step <= 4; ++step) {
      sink.write({.stage = "grpo",
                  .step = step,
                  .metrics = {{"reward", 0.1 * static_cast<double>(step)},
                              {"rewards/judge/mean", 0.5},
                              {"rewards/judge/unscored_rate", 0},
                              {"rewards/<img/unscored_rate", 0.25},
                              {"time/wait", 1},
                              {"time/train", 3}},
                  .alarms = {{"no_reward", kHostile, "look", 2}}});
    }
  }
  run_.directory.write_stage_result("before", evaluation("before", 0.25, kHostile));
  run_.directory.write_stage_result("grpo", {{"name", "grpo"},
                                             {"use", "grpo"},
                                             {"steps", 4},
                                             {"seconds", 16},
                                             {"weights_sha256", "0123456789abcdef0123"},
                                             {"law",
                                              {{"issued", 64},
                                               {"trained", 60},
                                               {"queued", 4},
                                               {"leased", 0},
                                               {"dropped", 0},
                                               {"quarantined", 0}}}});
  run_.directory.write_stage_result("after", evaluation("after", 0.75, "well"));
  std::ofstream(run_.directory.rollouts(4))
      << Json{{"group", 1},
              {"prompt", kHostile},
              {"completions", {{{"text", kHostile}, {"reward", nullptr}, {"advantage", 0.5}, {"tokens", 3}}}}}
             .dump(-1, ' ', false, Json::error_handler_t::replace)
      << '\n';

  write_report(run_.directory, recipe_);
  const auto report = read_file(run_.directory.report());
  EXPECT_THAT(
      report,
      HasSubstr("<th>reward (test)</th><td class=\"n\">0.25 ± 0.01</td><td class=\"n\">0.75 ± 0.01</td>"));
  EXPECT_THAT(report, HasSubstr("issued 64 = trained 60 + queued 4 + leased 0 + dropped 0 + quarantined 0"));
  EXPECT_THAT(report, HasSubstr("0123456789abcdef"));
  EXPECT_THAT(report, HasSubstr("<th>train</th><td>12.0s, 75 %</td>"));
  EXPECT_THAT(report, AllOf(HasSubstr("<svg "), HasSubstr("rewards/judge/mean"),
                            HasSubstr("rewards/&lt;img/unscored_rate"),
                            Not(HasSubstr("rewards/judge/unscored_rate"))));
  EXPECT_THAT(report, HasSubstr("<strong>no_reward</strong>, steps 2 to 4"));
  EXPECT_THAT(report, HasSubstr("Rollouts of step 4"));
  // Inert wherever it stands: alarm, samples, rollouts.
  EXPECT_THAT(report, HasSubstr(kInert));
  EXPECT_THAT(report, AllOf(Not(HasSubstr("<img")), Not(HasSubstr("\x1b")), Not(HasSubstr("<script")),
                            Not(HasSubstr("src=\"")), Not(HasSubstr("href="))));
}

TEST_F(RunReportTest, SaysHowARunFailedAndHowFarItCame) {
  {
    monitor::JsonlSink sink(run_.directory.metrics(), 0);
    sink.write({.stage = "grpo",
                .step = 3,
                .stage_step = 3,
                .stage_steps = 4,
                .metrics = {{"law/issued", 24},
                            {"law/trained", 16},
                            {"law/queued", 8},
                            {"law/leased", 0},
                            {"law/dropped", 0},
                            {"law/quarantined", 0},
                            {"step_time", 2}}});
  }
  run_.directory.write_stage_result("before", evaluation("before", 0.25, "x"));
  write_run_record(run_.directory.root(),
                   {.resume = "sluice run r.toml --resume", .code = 4, .cause = kHostile});
  const auto report = run_report(run_.directory, recipe_);
  EXPECT_THAT(report, HasSubstr("<strong>Failed, exit code 4</strong><br>" + std::string(kInert)));
  EXPECT_THAT(report, HasSubstr("<code>sluice run r.toml --resume</code>"));
  EXPECT_THAT(report,
              HasSubstr("<td class=\"n\">3 of 4</td><td class=\"n\">2.0s</td><td>issued 24 = trained 16 + "
                        "queued 8 + leased 0 + dropped 0 + quarantined 0</td>"));
  EXPECT_THAT(report, HasSubstr("<td>after</td><td>eval</td><td class=\"n\">not begun</td>"));
}

}  // namespace
}  // namespace sluice::recipes
