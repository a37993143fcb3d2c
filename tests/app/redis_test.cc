// Redis is a monitor, never the queue of record: a run goes on without it, and says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/files.h"
#include "monitor/redis_server.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

// Long enough for whatever a test does meanwhile; it ends by SIGTERM.
const std::vector<std::string> kLongRun{"run", "recipe.toml", "sft.steps=1", "grpo.steps=100000"};

std::optional<Stranger> redis_server_of(const Sluice& run) {
  for (auto& process : run.descendants()) {
    if (process.runs("redis-server")) return std::move(process);
  }
  return std::nullopt;
}

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
  const auto server = redis_server_of(run);
  ASSERT_TRUE(server);
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

// From its return until Redis shows the newest step of before.
Millis ms_to_be_shown(const Workspace& workspace, Sluice& run) {
  const int64_t step = last_step(workspace) - 1;  // of the stage: sft has one
  const SteadyClock clock;
  const Millis began = clock.now_ms();
  EXPECT_TRUE(run.wait_until([&] { return shown_step(workspace) >= step; })) << run.out();
  return clock.now_ms() - began;
}

TEST(Redis, FullIsSaidAndRightAgainWhenThereIsRoom) {
  const Workspace workspace;
  Sluice run(workspace, kLongRun);
  ASSERT_TRUE(run.wait_until([&] { return shown_step(workspace) >= 2; })) << run.out() << run.err();
  ASSERT_EQ(redis_cli(workspace, {"config", "set", "maxmemory", "1"}).at(0), "OK");
  EXPECT_TRUE(run.wait_until([&] { return run.out().find(" is full (OOM") != std::string::npos; }))
      << run.out();
  const int64_t said_at = last_step(workspace);
  EXPECT_TRUE(run.wait_until([&] { return last_step(workspace) >= said_at + 5; })) << run.out();

  ASSERT_EQ(redis_cli(workspace, {"config", "set", "maxmemory", "0"}).at(0), "OK");
  EXPECT_LT(ms_to_be_shown(workspace, run), 5'000);
  EXPECT_TRUE(run.wait_until([&] { return run.out().find(" is back") != std::string::npos; })) << run.out();
  EXPECT_EQ(terminate(run), 143);
}

TEST(Redis, FrozenIsSaidAndRightAgainWhenItThaws) {
  const Workspace workspace;
  Sluice run(workspace, kLongRun);
  ASSERT_TRUE(run.wait_until([&] { return shown_step(workspace) >= 2; })) << run.out() << run.err();
  const auto server = redis_server_of(run);
  ASSERT_TRUE(server);
  server->signal(SIGSTOP);
  EXPECT_TRUE(run.wait_until([&] { return run.out().find(" is gone (") != std::string::npos; })) << run.out();
  const int64_t said_at = last_step(workspace);
  EXPECT_TRUE(run.wait_until([&] { return last_step(workspace) >= said_at + 5; })) << run.out();
  server->signal(SIGCONT);
  EXPECT_LT(ms_to_be_shown(workspace, run), 5'000);
  EXPECT_EQ(terminate(run), 143);
}

// A user who may do what docs/monitoring.md says that a run needs, and nothing that is dangerous.
TEST(Redis, OfSomebodyElseIsUsedByAUserWithFewRights) {
  const Workspace workspace;
  std::string why;
  const auto socket = workspace / "theirs.sock";
  auto server = monitor::RedisServer::start(socket, workspace / "theirs.log", why);
  ASSERT_TRUE(server.has_value()) << why;
  const auto ask = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"redis-cli", "-s", socket.string()});
    auto process = Subprocess::start({.command = std::move(words), .output = workspace / "theirs.out"});
    EXPECT_TRUE(process.wait(kLongMs).has_value());
  };
  const auto page = read_file(fs::path(SLUICE_SOURCE_DIR) / "docs" / "monitoring.md");
  const std::string rule = "acl setuser sluice";
  const auto begin = page.find(rule);
  ASSERT_NE(begin, std::string::npos);
  std::istringstream words(page.substr(begin, page.find('\n', begin) - begin));
  std::vector<std::string> command;
  for (std::string word; words >> word;) command.push_back(word == ">PASSWORD" ? ">s3cret/" : word);
  ask(command);
  ask({"acl", "dryrun", "sluice", "eval", "return 1", "0"});
  ask({"acl", "dryrun", "sluice", "config", "get", "*"});
  ask({"acl", "dryrun", "sluice", "flushall"});
  const auto said = read_file(workspace / "theirs.out");
  for (const char* denied : {"'eval'", "'config|get'", "'flushall'"}) EXPECT_THAT(said, HasSubstr(denied));

  const auto url = "unix://sluice:s3cret%2F@" + socket.string();
  const auto run = sluice(workspace, {"run", "recipe.toml", "sft.steps=1", "grpo.steps=5",
                                      "monitor={redis=\"" + url + "\", control=true}"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, Not(HasSubstr("Redis")));  // there was nothing to complain of
  ask({"hget", "sluice:{tiny}:state", "stage_step"});
  EXPECT_TRUE(read_file(workspace / "theirs.out").ends_with("\n5\n"));
}

// The commands of docs/monitoring.md, typed as they stand there.
TEST(Redis, AnswersTheCommandsOfTheDocs) {
  const Workspace workspace;
  Sluice run(workspace, kLongRun);
  ASSERT_TRUE(run.wait_until([&] { return shown_step(workspace) >= 2; })) << run.out() << run.err();
  ASSERT_TRUE(
      run.wait_until([&] { return hgetall(workspace, "sluice:{tiny}:actor:actor-0").contains("pid"); }));
  const auto page = read_file(fs::path(SLUICE_SOURCE_DIR) / "docs" / "monitoring.md");
  const std::string row = "\n| `R ", name = "{NAME}";
  int num_commands = 0;
  for (size_t at = page.find(row); at != std::string::npos; at = page.find(row, at + 1), ++num_commands) {
    const auto begin = at + row.size();
    std::string command = page.substr(begin, page.find('`', begin) - begin);
    SCOPED_TRACE(command);
    for (size_t hole; (hole = command.find(name)) != std::string::npos;)
      command.replace(hole, name.size(), "{tiny}");
    const auto answer = workspace / "answer";
    fs::remove(answer);
    auto process = Subprocess::start(
        {.command = {"timeout", "3", "sh", "-c",
                     "exec redis-cli -s " + (workspace.run() / "redis.sock").string() + " " + command},
         .output = answer});
    EXPECT_TRUE(process.wait(kLongMs).has_value());
    EXPECT_THAT(read_file(answer),
                testing::AllOf(Not(testing::IsEmpty()), Not(HasSubstr("ERR")), Not(HasSubstr("WRONGTYPE"))));
  }
  EXPECT_EQ(num_commands, 10);

  // And what a browser of keys asks when it shows a stream.
  const std::string stream = "sluice:{tiny}:rollouts";
  const std::vector<std::vector<std::string>> asked{
      {"scan", "0", "match", "sluice:*", "count", "500", "type", "stream"},
      {"type", stream},
      {"ttl", stream},
      {"memory", "usage", stream},
      {"xinfo", "stream", stream},
      {"xinfo", "consumers", stream, "learner"},
      {"xrevrange", stream, "+", "-", "count", "500"},
      {"xpending", stream, "learner", "-", "+", "500"}};
  for (const auto& words : asked) {
    for (const auto& line : redis_cli(workspace, words))
      EXPECT_THAT(line, Not(testing::AnyOf(HasSubstr("ERR"), HasSubstr("WRONGTYPE")))) << words.front();
  }
  EXPECT_EQ(terminate(run), 143);
}

}  // namespace
}  // namespace sluice::app
