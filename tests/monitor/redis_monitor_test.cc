#include "monitor/redis_monitor.h"

#include <gmock/gmock.h>

#include <csignal>

#include "base/files.h"
#include "base/subprocess.h"
#include "tests/base/taken_port.h"
#include "tests/monitor/redis_fixture.h"

namespace sluice::monitor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kState = "sluice:{r}:state";
const std::string kRollouts = "sluice:{r}:rollouts";
const std::string kMetrics = "sluice:{r}:metrics";

class RedisMonitorTest : public RedisTest {
 protected:
  void SetUp() override { start_server(); }

  // The first sentence that comes.
  static std::string next_problem(RedisMonitor& monitor) {
    std::string problem;
    becomes_true([&] { return !(problem = monitor.take_problem()).empty(); });
    return problem;
  }
  // Everything said until `text` is.
  static bool says(RedisMonitor& monitor, const std::string& text) {
    return becomes_true([&] { return monitor.take_problem().find(text) != std::string::npos; });
  }
  void expect_group(const GroupInfo& wanted) {
    GroupInfo seen;
    becomes_true([&] { return (seen = group_info()) == wanted; });
    EXPECT_EQ(seen, wanted);
  }
  // Ten groups: 1 to 3 trained, 4 to 6 in the batch, 7 to 10 queued, one step written.
  void tell_a_story(RedisMonitor& monitor) {
    monitor.queued(rollouts(1, 10));
    monitor.batched({1, 2, 3});
    monitor.ended({1, 2, 3});
    monitor.batched({4, 5, 6});
    monitor.write({.stage = "grpo", .step = 1, .metrics = {{"reward", 0.5}}});
    monitor.state({{{"step", "1"}}});
    monitor.actors({{"actor-0", {{"tokens", "7"}}}});
  }
  void expect_the_story() {
    expect_group({.length = 7, .lag = 4, .pending = 3});
    EXPECT_THAT(column(kRollouts, "group"), ElementsAre("4", "5", "6", "7", "8", "9", "10"));
    EXPECT_THAT(pending_groups(), ElementsAre("4", "5", "6"));
    EXPECT_TRUE(becomes_true([&] { return hash(kState)["step"] == "1"; }));
    EXPECT_TRUE(becomes_true([&] { return hash("sluice:{r}:actor:actor-0")["tokens"] == "7"; }));
    EXPECT_THAT(column(kMetrics, "step"), ElementsAre("1"));
  }
};

TEST_F(RedisMonitorTest, CountsWhatIsQueuedAsLagAndWhatIsInTheBatchAsPending) {
  RedisMonitor monitor(address(), "r");
  monitor.queued(rollouts(1, 5));
  expect_group({.length = 5, .lag = 5, .pending = 0});

  monitor.batched({1, 2});
  expect_group({.length = 5, .lag = 3, .pending = 2});

  monitor.ended({1, 2});
  expect_group({.length = 3, .lag = 3, .pending = 0});

  monitor.batched({3, 4});
  monitor.queued(rollouts(6, 6));
  expect_group({.length = 4, .lag = 2, .pending = 2});
  EXPECT_THAT(pending_groups(), ElementsAre("3", "4"));
  EXPECT_THAT(column(kRollouts, "reward"), ElementsAre("0.5", "0.5", "0.5", "0.5"));
  EXPECT_EQ(monitor.num_dropped(), 0);
}

TEST_F(RedisMonitorTest, ADroppedQueuedGroupLeavesTheCountsRightOnceReadPast) {
  RedisMonitor monitor(address(), "r");
  monitor.queued(rollouts(1, 6));
  expect_group({.length = 6, .lag = 6, .pending = 0});

  monitor.ended({2, 4});
  monitor.batched({1});
  expect_group({.length = 4, .lag = -1, .pending = 1});
  monitor.batched({3});
  expect_group({.length = 4, .lag = -1, .pending = 2});
  monitor.batched({5});

  expect_group({.length = 4, .lag = 1, .pending = 3});
  EXPECT_THAT(pending_groups(), ElementsAre("1", "3", "5"));
  monitor.queued(rollouts(7, 8));
  monitor.batched({6});
  expect_group({.length = 6, .lag = 2, .pending = 4});
  monitor.ended({1, 3, 5});
  expect_group({.length = 3, .lag = 2, .pending = 1});
}

TEST_F(RedisMonitorTest, TheCountsAreRightPastAGroupDroppedFromAStreamThatWasWrittenAgain) {
  RedisMonitor monitor(address(), "r");
  tell_a_story(monitor);
  expect_the_story();
  ASSERT_EQ(ask({"FLUSHALL"}).text, "OK");
  expect_the_story();  // 7 entries, of the 10 there were

  monitor.ended({8});
  monitor.batched({7, 9});

  expect_group({.length = 6, .lag = 1, .pending = 5});
}

TEST_F(RedisMonitorTest, ABatchThatJumpsTheQueueReadsJustItsGroups) {
  RedisMonitor monitor(address(), "r");
  monitor.queued(rollouts(1, 5));
  expect_group({.length = 5, .lag = 5, .pending = 0});

  monitor.batched({4, 2});

  expect_group({.length = 5, .lag = 3, .pending = 2});
  EXPECT_THAT(pending_groups(), ElementsAre("4", "2"));
  EXPECT_THAT(column(kRollouts, "group"), ElementsAre("4", "2", "1", "3", "5"));
  EXPECT_EQ(monitor.take_problem(), "");
}

TEST_F(RedisMonitorTest, TheStateHashHoldsTheLastStateAndNothingOlder) {
  RedisMonitor monitor(address(), "r");
  monitor.state({{{"step", "1"}, {"warming_up", "yes"}}});
  monitor.state({{{"step", "2"}}});
  ASSERT_TRUE(becomes_true([&] { return hash(kState)["step"] == "2"; }));
  EXPECT_EQ(hash(kState), (std::map<std::string, std::string>{{"run", "r"}, {"step", "2"}}));
}

TEST_F(RedisMonitorTest, AnActorIsShownForTenSecondsAfterItsHeartbeat) {
  RedisMonitor monitor(address(), "r");
  const std::string key = "sluice:{r}:actor:actor-0";
  monitor.actors({{"actor-0", {{"tokens", "12"}}}});
  ASSERT_TRUE(becomes_true([&] { return hash(key)["tokens"] == "12"; }));
  const auto left_ms = ask({"PTTL", key}).integer;
  EXPECT_GT(left_ms, 0);
  EXPECT_LE(left_ms, 10'000);
}

TEST_F(RedisMonitorTest, TheMetricsStreamHoldsOneEntryAStepAndIsTrimmed) {
  RedisMonitor monitor(address(), "r");
  ASSERT_TRUE(becomes_true([&] { return monitor.connected(); }));
  for (int64_t step = 1; step <= 1500; ++step) {
    monitor.write({.stage = "sft", .step = step, .metrics = {{"loss", 1.0 / static_cast<double>(step)}}});
  }
  ASSERT_TRUE(becomes_true([&] {
    const auto steps = column(kMetrics, "step");
    return !steps.empty() && steps.back() == "1500";
  }));
  const auto length = ask({"XLEN", kMetrics}).integer;
  EXPECT_GE(length, 1000);
  EXPECT_LT(length, 1200);  // "~" lets a node of 100 entries stay
  EXPECT_EQ(column(kMetrics, "loss").back(), "0.0006666666666666666");
}

TEST_F(RedisMonitorTest, AnEventIsHeardByWhoListens) {
  RedisMonitor monitor(address(), "r");
  const auto heard = folder_.path() / "heard";
  const auto listener = Subprocess::start(
      {.command = {"redis-cli", "-s", socket_.string(), "SUBSCRIBE", "sluice:{r}:events"}, .output = heard});
  ASSERT_TRUE(becomes_true([&] { return monitor.connected(); }));
  ASSERT_TRUE(becomes_true([&] {
    return ask({"PUBSUB", "NUMSUB", "sluice:{r}:events"}).elements[1].integer == 1;
  }));

  monitor.event("actor-0 joined");

  EXPECT_TRUE(becomes_true([&] { return read_file(heard).find("actor-0 joined\n") != std::string::npos; }));
}

TEST_F(RedisMonitorTest, WhatAnEarlierRunOfTheNameLeftIsReplacedButItsMetricsStay) {
  {
    RedisMonitor earlier(address(), "r");
    tell_a_story(earlier);
    expect_the_story();
  }
  RedisMonitor monitor(address(), "r");
  monitor.queued(rollouts(21, 22));
  monitor.write({.stage = "grpo", .step = 2});
  expect_group({.length = 2, .lag = 2, .pending = 0});
  EXPECT_EQ(hash(kState), (std::map<std::string, std::string>{{"run", "r"}}));
  ASSERT_TRUE(becomes_true([&] { return column(kMetrics, "step").size() == 2; }));
  EXPECT_THAT(column(kMetrics, "step"), ElementsAre("1", "2"));
}

TEST_F(RedisMonitorTest, WhatWasToldLastIsThereWhenTheMonitorIsGone) {
  {
    RedisMonitor monitor(address(), "r");
    tell_a_story(monitor);
  }
  expect_the_story();
}

TEST_F(RedisMonitorTest, AServerThatComesLaterGetsTheWholePicture) {
  server_.reset();
  RedisMonitor monitor(address(), "r");
  tell_a_story(monitor);
  EXPECT_EQ(next_problem(monitor),
            "Redis at unix://" + socket_.string() +
                " cannot be used (No such file or directory); the run goes on without it");
  EXPECT_FALSE(monitor.connected());

  start_server();
  EXPECT_EQ(next_problem(monitor), "Redis at unix://" + socket_.string() + " is back");
  EXPECT_TRUE(monitor.connected());
  expect_the_story();
  EXPECT_EQ(monitor.num_dropped(), 0);
}

TEST_F(RedisMonitorTest, AServerThatIsKilledAndStartedAgainGetsTheWholePicture) {
  RedisMonitor monitor(address(), "r");
  tell_a_story(monitor);
  expect_the_story();

  server_->process().signal(SIGKILL);
  ASSERT_TRUE(server_->process().wait(5'000));
  EXPECT_THAT(next_problem(monitor), HasSubstr("is gone ("));  // noticed though nothing is told
  monitor.ended({4, 5, 6});
  monitor.batched({7});

  start_server();
  EXPECT_TRUE(says(monitor, "is back"));
  expect_group({.length = 4, .lag = 3, .pending = 1});
  EXPECT_THAT(pending_groups(), ElementsAre("7"));
  EXPECT_THAT(column(kMetrics, "step"), ElementsAre("1"));
}

TEST_F(RedisMonitorTest, AFlushIsMendedThoughNothingIsTold) {
  RedisMonitor monitor(address(), "r");
  tell_a_story(monitor);
  expect_the_story();

  ASSERT_EQ(ask({"FLUSHALL"}).text, "OK");

  EXPECT_TRUE(says(monitor, "had lost the keys of this run; they are written again"));
  expect_the_story();
}

TEST_F(RedisMonitorTest, AFlushIsMendedWhenTheNextThingIsToldRightAfter) {
  RedisMonitor monitor(address(), "r");
  tell_a_story(monitor);
  expect_the_story();

  ASSERT_EQ(ask({"FLUSHALL"}).text, "OK");
  monitor.state({{{"step", "2"}}});
  monitor.queued(rollouts(11, 11));
  monitor.batched({7, 8});

  expect_group({.length = 8, .lag = 3, .pending = 5});
  EXPECT_THAT(column(kRollouts, "group"), ElementsAre("4", "5", "6", "7", "8", "9", "10", "11"));
  EXPECT_EQ(hash(kState)["step"], "2");
}

TEST_F(RedisMonitorTest, AStreamThatSomebodyRemovedOrSpoiltIsWrittenAgain) {
  RedisMonitor monitor(address(), "r");
  tell_a_story(monitor);
  expect_the_story();

  ask({"DEL", kRollouts});
  expect_the_story();

  ask({"XGROUP", "DESTROY", kRollouts, "learner"});
  monitor.batched({7});
  expect_group({.length = 7, .lag = 3, .pending = 4});
  EXPECT_TRUE(says(monitor, "refused a command (NOGROUP"));

  ask({"DEL", kMetrics});
  ask({"SET", kMetrics, "a string"});
  monitor.write({.stage = "grpo", .step = 2});
  EXPECT_TRUE(becomes_true([&] { return column(kMetrics, "step") == std::vector<std::string>{"1", "2"}; }));
}

TEST_F(RedisMonitorTest, AFrozenServerHoldsNobodyUpAndIsRightWhenItThaws) {
  RedisMonitor monitor(address(), "r");
  tell_a_story(monitor);
  expect_the_story();

  server_->process().signal(SIGSTOP);
  const SteadyClock clock;
  const Millis started = clock.now_ms();
  for (uint64_t group = 11; group <= 1010; ++group) monitor.queued(rollouts(group, group));
  EXPECT_LT(clock.now_ms() - started, 1'000);
  EXPECT_THAT(next_problem(monitor), HasSubstr("is gone (waited 200 ms for its answer)"));
  monitor.write({.stage = "grpo", .step = 2});

  server_->process().signal(SIGCONT);
  EXPECT_TRUE(says(monitor, "is back"));
  expect_group({.length = 1007, .lag = 1004, .pending = 3});
  EXPECT_THAT(column(kMetrics, "step"), ElementsAre("1", "2"));
}

TEST_F(RedisMonitorTest, AFrozenServerDoesNotKeepTheMonitorFromEnding) {
  const SteadyClock clock;
  auto monitor = std::make_unique<RedisMonitor>(address(), "r");
  tell_a_story(*monitor);
  expect_the_story();
  server_->process().signal(SIGSTOP);
  monitor->queued(rollouts(11, 4000));

  const Millis started = clock.now_ms();
  monitor.reset();
  EXPECT_LT(clock.now_ms() - started, 1'000);
  server_->process().signal(SIGCONT);
}

TEST_F(RedisMonitorTest, WhatIsTooMuchIsCountedAndThePictureIsRightAfterwards) {
  RedisMonitor monitor(address(), "r");
  ASSERT_TRUE(becomes_true([&] { return monitor.connected(); }));
  server_->process().signal(SIGSTOP);
  monitor.queued(rollouts(1, 10'000));  // 4096 commands wait at most
  EXPECT_GE(monitor.num_dropped(), 10'000 - 4096);
  monitor.batched({1});
  server_->process().signal(SIGCONT);
  expect_group({.length = 10'000, .lag = 9'999, .pending = 1});
}

TEST_F(RedisMonitorTest, APasswordAndADatabaseAreUsedOverTcp) {
  const auto port = std::to_string(free_port());
  ask({"CONFIG", "SET", "bind", "127.0.0.1"});
  ASSERT_EQ(ask({"CONFIG", "SET", "port", port}).text, "OK");
  ask({"ACL", "SETUSER", "ada", "on", ">s3 cret", "~*", "&*", "+@all"});
  ask({"ACL", "SETUSER", "reader", "on", "nopass", "~*", "+get"});

  {
    RedisMonitor monitor(parse_redis_url("redis://ada:s3%20cret@localhost:" + port + "/2"), "r");
    EXPECT_TRUE(becomes_true([&] { return monitor.connected(); }));
  }
  internal::RedisClient client({.unix_socket = socket_.string(), .database = 2});
  ASSERT_EQ(client.connect(), "");
  std::string why;
  const auto there = client.exchange({{"EXISTS", kState}}, why);
  ASSERT_TRUE(there) << why;
  EXPECT_EQ(there->front().integer, 1);
  EXPECT_EQ(ask({"EXISTS", kState}).integer, 0);  // database 0

  RedisMonitor wrong(parse_redis_url("redis://ada:other@127.0.0.1:" + port), "r");
  const auto problem = next_problem(wrong);
  EXPECT_THAT(problem, HasSubstr("Redis at 127.0.0.1:" + port + " cannot be used (WRONGPASS"));
  EXPECT_EQ(problem.find("other"), std::string::npos);
}

TEST_F(RedisMonitorTest, AServerThatMayNotBeWrittenToIsReportedOnce) {
  ask({"CONFIG", "SET", "maxmemory", "1"});
  RedisMonitor monitor(address(), "r");
  EXPECT_THAT(next_problem(monitor), HasSubstr("is full (OOM"));
  ask({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_TRUE(says(monitor, "is back"));
  expect_group({.length = 0, .lag = 0, .pending = 0});
}

TEST(RedisMonitorAddress, ANameThatLeadsNowhereIsReportedAndHoldsNobodyUp) {
  const SteadyClock clock;
  auto monitor = std::make_unique<RedisMonitor>(RedisAddress{.host = "redis.invalid"}, "r");
  std::string problem;
  EXPECT_TRUE(becomes_true([&] { return !(problem = monitor->take_problem()).empty(); }));
  EXPECT_THAT(problem, HasSubstr("Redis at redis.invalid:6379 cannot be used ("));
  const Millis started = clock.now_ms();
  monitor.reset();
  EXPECT_LT(clock.now_ms() - started, 1'000);
}

}  // namespace
}  // namespace sluice::monitor
