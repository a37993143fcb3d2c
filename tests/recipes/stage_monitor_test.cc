#include "recipes/internal/stage_monitor.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/files.h"
#include "monitor/run_history.h"
#include "tests/recipes/recipe_folder.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class StageMonitorTest : public testing::Test {
 protected:
  OpenedRun open(const std::string& health) {
    recipe_ = folder_.load("[[stages]]\nuse = \"grpo\"\nsteps = 60\n" + health,
                           {"data={use=\"text\", path=\"corpus.txt\"}", "tokenizer.train=characters",
                            "rewards=[{use=\"real_words\"}]", "monitor.redis=off"});
    return open_run(folder_.path() / "runs", *recipe_, false);
  }
  StageMonitor monitor(const OpenedRun& run, int64_t last_step, int64_t rank = 0) {
    return {run.directory, *recipe_, recipe_->stages.front(), last_step, rank};
  }
  // Steps in which nothing is earned.
  static void report(StageMonitor& monitor, int64_t first, int64_t last) {
    for (int64_t step = first; step <= last; ++step)
      monitor.report(step, step, {{"reward", 0}, {"reward_std", 0}});
  }
  static std::vector<monitor::StepReport> steps(const OpenedRun& run) {
    monitor::RunHistory history(run.directory.metrics());
    history.refresh();
    return history.steps();
  }

  RecipeFolder folder_;
  std::optional<Recipe> recipe_;
};

TEST_F(StageMonitorTest, AnAlarmIsInTheLinesOfTheStepsItStandsIn) {
  const auto run = open("");
  testing::internal::CaptureStdout();
  auto watched = monitor(run, 0);
  report(watched, 1, 21);
  EXPECT_THAT(
      testing::internal::GetCapturedStdout(),
      HasSubstr("alarm: grpo: no_reward: every completion earned a reward of 0 over the last 20 steps. "
                "Try the scorers"));
  EXPECT_FALSE(watched.is_ill());
  const auto lines = steps(run);
  EXPECT_THAT(lines[18].alarms, IsEmpty());
  ASSERT_THAT(lines[19].alarms, SizeIs(1));
  EXPECT_EQ(lines[19].alarms[0].since_step, 20);
  EXPECT_THAT(lines[19].note, HasSubstr("no_reward: every completion"));
  ASSERT_THAT(lines[20].alarms, SizeIs(1));
  EXPECT_THAT(lines[20].note, IsEmpty());
}

TEST_F(StageMonitorTest, ARuleOfStopOnMakesTheRunIllOnce) {
  const auto run = open("health = { stop_on = [\"no_reward\"] }\n");
  {
    auto watched = monitor(run, 0);
    report(watched, 1, 20);
    ASSERT_TRUE(watched.is_ill());
    try {
      watched.end_ill();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::Health);
      EXPECT_THAT(error.what(), AllOf(HasSubstr("grpo: no_reward: every completion"), HasSubstr("--resume")));
    }
  }
  auto resumed = monitor(run, 20);
  report(resumed, 21, 22);
  EXPECT_FALSE(resumed.is_ill());
  EXPECT_EQ(steps(run).back().alarms.at(0).since_step, 20);
}

TEST_F(StageMonitorTest, AStepThatIsTakenAgainRaisesItsAlarmAgain) {
  const auto run = open("health = { stop_on = [\"no_reward\"] }\n");
  {
    auto watched = monitor(run, 0);
    report(watched, 1, 20);
  }
  auto resumed = monitor(run, 19);
  report(resumed, 20, 20);
  EXPECT_TRUE(resumed.is_ill());
}

TEST_F(StageMonitorTest, ARuleThatIsOffSaysNothing) {
  const auto run = open("health = { off = [\"no_reward\"] }\n");
  auto watched = monitor(run, 0);
  report(watched, 1, 25);
  EXPECT_THAT(steps(run).back().alarms, IsEmpty());
}

TEST_F(StageMonitorTest, ARuleThatThereIsNotIsAMistakeOfTheRecipe) {
  try {
    open("health = { stop_on = [\"no_rewards\"] }\n");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("stage grpo: health.stop_on: there is no health rule \"no_rewards\"; "
                                        "did you mean \"no_reward\"?"));
  }
}

TEST_F(StageMonitorTest, TheDiskIsMeasured) {
  const auto run = open("");
  fs::create_directories(run.directory.checkpoints() / "step_000000");
  write_file_atomically(run.directory.checkpoints() / "step_000000" / "weights", std::string(3 << 20, 'w'));
  replace_symlink(run.directory.checkpoints() / "latest", "step_000000");
  auto watched = monitor(run, 0);
  report(watched, 1, 1);
  const auto metrics = steps(run).back().metrics;
  EXPECT_EQ(metrics.at("disk/checkpoint_mb"), 3);
  EXPECT_GT(metrics.at("disk/free_mb"), 0);
}

TEST_F(StageMonitorTest, HowThingsStandIsInAFileOfItsOwn) {
  const auto run = open("");
  auto watched = monitor(run, 0);
  watched.show_state(7, 3, {{"queue_depth", "12"}}, {{"actor-0", {{"tokens", "99"}}}});
  const auto state = read_json(run.directory.state());
  EXPECT_EQ(state.at("state").at("queue_depth"), "12");
  EXPECT_EQ(state.at("state").at("step"), "7");
  EXPECT_EQ(state.at("actors").at("actor-0").at("tokens"), "99");
}

TEST_F(StageMonitorTest, TensorboardHasAFileOfTheRunUnlessItIsOff) {
  const auto num_files = [](const OpenedRun& run) {
    int64_t count = 0;
    for (const auto& entry : fs::directory_iterator(run.directory.root()))
      count += entry.path().filename().string().starts_with("events.out.tfevents.") ? 1 : 0;
    return count;
  };
  const auto run = open("");
  auto watched = monitor(run, 0);
  EXPECT_EQ(num_files(run), 1);
  recipe_->monitor.tensorboard = false;
  const RecipeFolder other;
  const auto without = open_run(other.path() / "runs", *recipe_, false);
  auto unwatched = monitor(without, 0);
  EXPECT_EQ(num_files(without), 0);
}

TEST_F(StageMonitorTest, OtherRanksHaveNothingToSay) {
  const auto run = open("health = { stop_on = [\"no_reward\"] }\n");
  auto other = monitor(run, 0, /*rank=*/1);
  report(other, 1, 30);
  other.show_state(1, 1);
  EXPECT_FALSE(other.is_ill());
  EXPECT_FALSE(fs::exists(run.directory.metrics()));
  EXPECT_FALSE(fs::exists(run.directory.state()));
}

}  // namespace
}  // namespace sluice::recipes
