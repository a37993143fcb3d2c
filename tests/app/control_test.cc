// A run that is told what to do through Redis: monitor.control.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <sstream>
#include <thread>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::vector<std::string> run_of(int64_t steps, const std::string& more = "monitor.control=true") {
  return {"run", "recipe.toml", "sft.steps=1", "grpo.steps=" + std::to_string(steps), more};
}

// What a person would type; the answer.
std::string redis_cli(const Workspace& workspace, std::vector<std::string> words) {
  const fs::path answer = workspace / "redis-cli.out";
  fs::remove(answer);
  words.insert(words.begin(), {"redis-cli", "-s", (workspace.run() / "redis.sock").string()});
  auto process = Subprocess::start({.command = std::move(words), .output = answer});
  EXPECT_TRUE(process.wait(kLongMs).has_value());
  auto text = read_file(answer);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// Who sends commands to a run, one after the other.
class Operator {
 public:
  explicit Operator(const Workspace& workspace) : workspace_(workspace) {}

  // Waits for the answer: "done: " or "refused: ", and what else it says.
  std::string tell(const std::string& command) {
    const auto id = redis_cli(workspace_, {"xadd", "sluice:{tiny}:commands", "*", "do", command});
    std::istringstream lines(redis_cli(
        workspace_, {"xread", "block", std::to_string(kLongMs), "streams", "sluice:{tiny}:replies", last_}));
    std::vector<std::string> words;  // key, id, "do", command, "result", result, "text", text
    for (std::string line; std::getline(lines, line);) words.push_back(line);
    if (words.size() != 8) return "no answer";
    last_ = words[1];
    EXPECT_EQ(last_, id);
    return words[5] + ": " + words[7];
  }

 private:
  const Workspace& workspace_;
  std::string last_ = "0-0";
};

// What was sent before is refused, so that it is waited for.
bool comes_to_listen(Sluice& run, const Workspace& workspace) {
  return run.wait_until([&] { return fs::exists(workspace.run() / "commands.json"); });
}

int64_t last_step(const Workspace& workspace) {
  const auto lines = workspace.metrics();
  return lines.empty() ? 0 : lines.back().at("step").get<int64_t>();
}

std::string weights_of(const Workspace& workspace) {
  return read_json(workspace.run() / "summary.json").at("stages").back().at("weights_sha256");
}

TEST(Control, APausedRunTakesNoStepSaysSoAndEndsAsIfItHadNotBeen) {
  const Workspace untouched;
  ASSERT_EQ(sluice(untouched, run_of(30, "monitor.redis=off")).code, 0);

  const Workspace workspace;
  Operator person(workspace);
  Sluice run(workspace, run_of(30));
  ASSERT_TRUE(run.wait_for_step("grpo", 2)) << run.out() << run.err();
  ASSERT_TRUE(comes_to_listen(run, workspace));
  EXPECT_THAT(person.tell("pause"), StartsWith("done: paused after step "));
  const auto step = last_step(workspace);
  EXPECT_THAT(person.tell("checkpoint"), StartsWith("done: the newest checkpoint is step_"));
  EXPECT_THAT(person.tell("pase"), AllOf(StartsWith("refused"), HasSubstr("did you mean \"pause\"?")));
  EXPECT_EQ(redis_cli(workspace, {"hget", "sluice:{tiny}:state", "paused"}), "yes");
  EXPECT_THAT(sluice(workspace, {"top", "runs/tiny", "--once"}).out, HasSubstr("paused by a command"));
  EXPECT_EQ(last_step(workspace), step);
  const auto number = std::to_string(step);
  EXPECT_TRUE(
      fs::exists(workspace.run() / "checkpoints" / ("step_" + std::string(6 - number.size(), '0') + number)));

  EXPECT_THAT(person.tell("resume"), StartsWith("done: goes on after step "));
  EXPECT_EQ(run.exit_code(), 0) << run.err();
  EXPECT_EQ(weights_of(workspace), weights_of(untouched));
}

TEST(Control, StopEndsAsASignalDoesAndIsNotDoneAgain) {
  const Workspace workspace;
  Operator person(workspace);
  {
    Sluice run(workspace, run_of(100000));
    ASSERT_TRUE(run.wait_for_step("grpo", 2)) << run.out() << run.err();
    ASSERT_TRUE(comes_to_listen(run, workspace));
    EXPECT_THAT(person.tell("stop"), StartsWith("done: stops with a checkpoint after step "));
    EXPECT_EQ(run.exit_code(), 143) << run.err();
  }
  const auto stopped = last_step(workspace);
  auto again = run_of(100000);
  again.push_back("--resume");
  Sluice run(workspace, again);
  ASSERT_TRUE(run.wait_for_step("grpo", stopped + 2)) << run.out() << run.err();
  run.process().signal(SIGTERM);
  EXPECT_EQ(run.exit_code(), 143);
}

TEST(Control, AStageOfExamplesIsToldToo) {
  const Workspace workspace;
  Operator person(workspace);
  Sluice run(workspace, {"run", "recipe.toml", "sft.steps=100000", "monitor.control=true"});
  ASSERT_TRUE(run.wait_for_step("sft", 2)) << run.out() << run.err();
  ASSERT_TRUE(comes_to_listen(run, workspace));
  EXPECT_THAT(person.tell("pause"), StartsWith("done: paused after step "));
  const auto step = last_step(workspace);
  EXPECT_THAT(person.tell("checkpoint"), StartsWith("done: the newest checkpoint is step_"));
  EXPECT_EQ(last_step(workspace), step);
  EXPECT_THAT(person.tell("stop"), StartsWith("done: stops"));
  EXPECT_EQ(run.exit_code(), 143);
}

// Rank 0 alone hears of commands; the other waits for it much longer than for a step.
class ControlOfRanks : public testing::TestWithParam<const char*> {
 protected:
  static constexpr auto kPaused = std::chrono::seconds(6);
  std::vector<std::string> arguments(int64_t steps, std::vector<std::string> more = {}) const {
    const std::string stage = GetParam();
    more.insert(more.begin(), {"run", "recipe.toml", stage + ".steps=" + std::to_string(steps),
                               "learner.ranks=2", "learner.rank_timeout_s=4"});
    if (stage == "grpo") more.emplace_back("sft.steps=1");
    return more;
  }
};

TEST_P(ControlOfRanks, ThePauseIsLongerThanTheyWaitForEachOther) {
  const Workspace workspace;
  Operator person(workspace);
  Sluice run(workspace, arguments(100000, {"monitor.control=true"}));
  ASSERT_TRUE(run.wait_for_step(GetParam(), 2)) << run.out() << run.err();
  ASSERT_TRUE(comes_to_listen(run, workspace));
  EXPECT_THAT(person.tell("pause"), StartsWith("done: paused after step "));
  const auto step = last_step(workspace);
  std::this_thread::sleep_for(kPaused);
  EXPECT_THAT(person.tell("checkpoint"), StartsWith("done: the newest checkpoint is step_"));
  EXPECT_EQ(last_step(workspace), step);
  EXPECT_THAT(person.tell("resume"), StartsWith("done: goes on after step "));
  ASSERT_TRUE(run.wait_until([&] { return last_step(workspace) >= step + 2; })) << run.out() << run.err();
  EXPECT_THAT(person.tell("pause"), StartsWith("done: paused after step "));
  EXPECT_THAT(person.tell("stop"), StartsWith("done: stops with a checkpoint after step "));
  EXPECT_EQ(run.exit_code(), 143) << run.err();
  const auto stopped = last_step(workspace);

  Sluice more(workspace, arguments(100000, {"--resume", "monitor.control=true"}));
  EXPECT_TRUE(more.wait_until([&] { return last_step(workspace) >= stopped + 2; })) << more.err();
  more.process().signal(SIGTERM);
  EXPECT_EQ(more.exit_code(), 143) << more.err();
}

INSTANTIATE_TEST_SUITE_P(Stages, ControlOfRanks, testing::Values("sft", "grpo"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Control, WithoutTheKeyNobodyListens) {
  const Workspace workspace;
  Sluice run(workspace, run_of(100000, "monitor.redis=private"));
  ASSERT_TRUE(run.wait_for_step("grpo", 1)) << run.out() << run.err();
  redis_cli(workspace, {"xadd", "sluice:{tiny}:commands", "*", "do", "stop"});
  const auto sent = last_step(workspace);
  ASSERT_TRUE(run.wait_for_step("grpo", sent + 20)) << run.out() << run.err();
  EXPECT_EQ(redis_cli(workspace, {"xlen", "sluice:{tiny}:commands"}), "1");
  run.process().signal(SIGTERM);
  EXPECT_EQ(run.exit_code(), 143);
}

TEST(Control, WithoutRedisItIsRefused) {
  const Workspace workspace;
  const auto run = sluice(workspace, {"run", "recipe.toml", "monitor={control=true, redis=\"off\"}"});
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, HasSubstr("commands come through Redis"));
}

}  // namespace
}  // namespace sluice::app
