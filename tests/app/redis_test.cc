// Redis is a monitor, never the queue of record: a run goes on without it, and says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <sstream>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Long enough for whatever a test does meanwhile; it ends by SIGTERM.
const std::vector<std::string> kLongRun{"run", "recipe.toml", "sft.steps=1", "grpo.steps=100000"};

// What a person would type; the lines of its answer.
std::vector<std::string> redis_cli(const Workspace& workspace, std::vector<std::string> words) {
  const fs::path answer = workspace / "redis-cli.out";
  fs::remove(answer);
  words.insert(words.begin(), {"redis-cli", "-s", (workspace.run() / "redis.sock").string()});
  auto process = Subprocess::start({.command = std::move(words), .output = answer});
  EXPECT_TRUE(process.wait(kLongMs).has_value());
  std::vector<std::string> lines;
  std::istringstream text(read_file(answer));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

std::map<std::string, std::string> hgetall(const Workspace& workspace, const std::string& key) {
  const auto lines = redis_cli(workspace, {"hgetall", key});
  std::map<std::string, std::string> hash;
  for (size_t i = 0; i + 1 < lines.size(); i += 2) hash[lines[i]] = lines[i + 1];
  return hash;
}

// The step that the state hash shows; -1 without one.
int64_t shown_step(const Workspace& workspace) {
  const auto state = hgetall(workspace, "sluice:{tiny}:state");
  const auto step = state.find("stage_step");
  return step == state.end() ? -1 : std::stol(step->second);
}

int64_t last_step(const Workspace& workspace) {
  const auto lines = workspace.metrics();
  return lines.empty() ? 0 : lines.back().at("step").get<int64_t>();
}

int terminate(Sluice& run) {
  run.process().signal(SIGTERM);
  return run.exit_code();
}

TEST(Redis, ShowsTheStateWhileTheRunGoesOn) {
  const Workspace workspace;
  Sluice run(workspace, kLongRun);
  ASSERT_TRUE(run.wait_for_step("grpo", 3)) << run.out() << run.err();
  ASSERT_TRUE(run.wait_until([&] { return shown_step(workspace) >= 3; })) << run.out();

  EXPECT_THAT(run.out(), HasSubstr("redis-cli -s " + (workspace.run() / "redis.sock").string() +
                                   " hgetall 'sluice:{tiny}:state'"));
  const auto state = hgetall(workspace, "sluice:{tiny}:state");
  for (const char* field :
       {"queue_depth", "age_s", "version", "credits", "issued", "trained", "step", "stage"}) {
    EXPECT_TRUE(state.contains(field)) << field;
  }
  EXPECT_GE(std::stol(state.at("version")), 3);
  ASSERT_TRUE(
      run.wait_until([&] { return hgetall(workspace, "sluice:{tiny}:actor:actor-0").contains("pid"); }));
  EXPECT_NE(redis_cli(workspace, {"xlen", "sluice:{tiny}:metrics"}).at(0), "0");
  EXPECT_EQ(terminate(run), 143);
}

TEST(Redis, FlushedInTheMiddleIsFilledAgain) {
  const Workspace workspace;
  Sluice run(workspace, kLongRun);
  ASSERT_TRUE(run.wait_until([&] { return shown_step(workspace) >= 2; })) << run.out() << run.err();
  const int64_t flushed_after = last_step(workspace);
  ASSERT_EQ(redis_cli(workspace, {"flushall"}).at(0), "OK");

  EXPECT_TRUE(run.wait_until([&] { return shown_step(workspace) >= flushed_after; })) << run.out();
  EXPECT_TRUE(run.wait_until([&] {
    return run.out().find("had lost the keys of this run") != std::string::npos;
  })) << run.out();
  EXPECT_TRUE(hgetall(workspace, "sluice:{tiny}:state").contains("credits"));
  EXPECT_EQ(terminate(run), 143);
}

TEST(Redis, KilledInTheMiddleIsSaidAndTheRunGoesOn) {
  const Workspace workspace;
  Sluice run(workspace, kLongRun);
  ASSERT_TRUE(run.wait_until([&] { return shown_step(workspace) >= 2; })) << run.out() << run.err();
  const auto family = run.descendants();
  const auto server = std::find_if(family.begin(), family.end(),
                                   [](const auto& process) { return process.runs("redis-server"); });
  ASSERT_NE(server, family.end());
  server->signal(SIGKILL);

  EXPECT_TRUE(run.wait_until([&] {
    return run.out().find("the run goes on without it") != std::string::npos;
  })) << run.out();
  const int64_t said_at = last_step(workspace);
  EXPECT_TRUE(run.wait_until([&] { return last_step(workspace) >= said_at + 5; })) << run.out();
  EXPECT_EQ(terminate(run), 143);
  EXPECT_FALSE(fs::exists(workspace.run() / "redis.sock"));
}

TEST(Redis, MissingIsSaidAndTheRunEndsWell) {
  const Workspace workspace;
  const auto run =
      sluice(workspace, {"run", "recipe.toml", "sft.steps=1", "grpo.steps=3"}, {{"PATH", "/nowhere"}});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("no Redis: "));
  EXPECT_THAT(run.out, HasSubstr("the run goes on without it"));
  EXPECT_TRUE(fs::exists(workspace.run() / "summary.json"));
}

TEST(Redis, OfSomebodyElseThatIsNotThereIsSaidAndTheRunEndsWell) {
  const Workspace workspace;
  const auto run = sluice(workspace, {"run", "recipe.toml", "sft.steps=1", "grpo.steps=3",
                                      "monitor.redis=unix://" + (workspace / "no.sock").string()});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("the run goes on without it"));
}

}  // namespace
}  // namespace sluice::app
