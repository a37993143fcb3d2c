// Commands to a run through a real redis-server: each is taken once at most, and each is answered.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/monitor/redis_fixture.h"

namespace sluice::monitor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kCommands = "sluice:{r}:commands";
const std::string kReplies = "sluice:{r}:replies";

class RedisCommands : public RedisTest {
 protected:
  void SetUp() override { start_server(); }

  std::string send(const std::string& text) const { return ask({"XADD", kCommands, "*", "do", text}).text; }
  // The first commands that come.
  static std::vector<std::string> take(RedisMonitor& monitor, std::vector<RunCommand>& taken) {
    becomes_true([&] { return !(taken = monitor.take_commands()).empty(); });
    std::vector<std::string> texts;
    for (const auto& command : taken) texts.push_back(command.text);
    return texts;
  }
  // The field of the answer to a command, once it is there and the command is gone.
  std::string reply(const std::string& id, const std::string& field) const {
    std::string text;
    becomes_true([&] {
      const auto found = ask({"XRANGE", kReplies, id, id});
      if (found.elements.empty() || !ask({"XRANGE", kCommands, id, id}).elements.empty()) return false;
      const auto& fields = found.elements[0].elements[1].elements;
      for (size_t i = 0; i + 1 < fields.size(); i += 2) {
        if (fields[i].text == field) text = fields[i + 1].text;
      }
      return true;
    });
    return text;
  }
  // A monitor that has looked, and so knows what was not sent to it.
  std::unique_ptr<RedisMonitor> listening(const std::string& last_taken = "") const {
    auto monitor = std::make_unique<RedisMonitor>(address(), "r");
    monitor->listen(last_taken);
    becomes_true([&] { return !monitor->last_taken().empty(); });
    return monitor;
  }
};

TEST_F(RedisCommands, ACommandIsTakenOnceAndItsAnswerHasItsId) {
  const auto monitor = listening();
  const auto first = send("pause"), second = send("resume");
  std::vector<RunCommand> taken, more;
  for (int i = 0; i < 2 && taken.size() < 2; ++i) {
    take(*monitor, more);
    taken.insert(taken.end(), more.begin(), more.end());
  }
  ASSERT_EQ(taken.size(), 2);
  EXPECT_EQ(taken[0].id, first);
  EXPECT_EQ(taken[1].text, "resume");
  EXPECT_EQ(monitor->last_taken(), second);

  for (const auto& command : taken) monitor->answer(command, "done", "as told: " + command.text);
  EXPECT_EQ(reply(first, "text"), "as told: pause");
  EXPECT_EQ(reply(second, "result"), "done");
  EXPECT_EQ(reply(second, "do"), "resume");
  EXPECT_THAT(monitor->take_commands(), IsEmpty());
  EXPECT_EQ(ask({"XLEN", kCommands}).integer, 0);
  EXPECT_EQ(ask({"XLEN", kReplies}).integer, 2);
}

TEST_F(RedisCommands, NobodyIsAskedWhoDoesNotListen) {
  RedisMonitor monitor(address(), "r");
  ASSERT_TRUE(becomes_true([&] { return monitor.connected(); }));
  send("stop");
  monitor.state({{{"step", "1"}}});
  ASSERT_TRUE(becomes_true([&] { return hash("sluice:{r}:state")["step"] == "1"; }));
  EXPECT_THAT(monitor.take_commands(), IsEmpty());
  EXPECT_EQ(ask({"XLEN", kCommands}).integer, 1);
}

TEST_F(RedisCommands, WhatWasSentBeforeTheRunListenedIsRefused) {
  const auto early = send("stop");
  const auto monitor = listening();
  EXPECT_EQ(reply(early, "result"), "refused");
  EXPECT_EQ(reply(early, "text"), "it was sent before this run listened");
  EXPECT_THAT(monitor->take_commands(), IsEmpty());
}

// It may have been done: only the process that took it knew.
TEST_F(RedisCommands, WhatADeadProcessTookIsRefusedByTheNextAndWhatItDidNotIsTaken) {
  std::string taken_to, first;
  {
    const auto monitor = listening();
    first = send("checkpoint");
    std::vector<RunCommand> taken;
    EXPECT_THAT(take(*monitor, taken), ElementsAre("checkpoint"));
    taken_to = monitor->last_taken();
  }
  const auto second = send("pause");
  const auto monitor = listening(taken_to);
  std::vector<RunCommand> taken;
  EXPECT_THAT(take(*monitor, taken), ElementsAre("pause"));
  EXPECT_EQ(taken[0].id, second);
  EXPECT_EQ(reply(first, "result"), "refused");
  EXPECT_THAT(reply(first, "text"), HasSubstr("is not done again"));
}

TEST_F(RedisCommands, AnAnswerWaitsForAServerThatIsFullOrFrozen) {
  const auto monitor = listening();
  std::vector<RunCommand> taken;
  const auto first = send("pause");
  take(*monitor, taken);
  ASSERT_EQ(taken.size(), 1);
  ask({"CONFIG", "SET", "maxmemory", "1"});
  monitor->answer(taken[0], "done", "paused");
  std::string said;
  EXPECT_TRUE(becomes_true([&] {
    return (said += monitor->take_problem()).find("OOM") != std::string::npos;
  })) << said;
  ask({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_EQ(reply(first, "text"), "paused");

  const auto second = send("resume");
  take(*monitor, taken);
  ASSERT_EQ(taken.size(), 1);
  server_->process().signal(SIGSTOP);
  monitor->answer(taken[0], "done", "goes on");
  EXPECT_TRUE(becomes_true([&] { return !monitor->connected(); }));
  server_->process().signal(SIGCONT);
  EXPECT_EQ(reply(second, "text"), "goes on");
  EXPECT_EQ(ask({"XLEN", kReplies}).integer, 2);
}

}  // namespace
}  // namespace sluice::monitor
