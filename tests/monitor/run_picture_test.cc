#include "monitor/internal/run_picture.h"

#include <gmock/gmock.h>

#include "tests/monitor/redis_fixture.h"

namespace sluice::monitor::internal {
namespace {

using testing::ElementsAre;

// The commands without the frame of the transaction and the probe.
std::vector<RedisCommand> changes(RunPicture& picture) {
  auto commands = picture.take_changes();
  return {commands.begin() + 2, commands.end() - 1};
}

// The first word of each.
std::vector<std::string> verbs(const std::vector<RedisCommand>& commands) {
  std::vector<std::string> out;
  for (const auto& command : commands) out.push_back(command[0]);
  return out;
}

TEST(RunPicture, KeepsNoChangesBeforeItIsAskedForTheWhole) {
  const ManualClock clock;
  RunPicture picture("r", 100, clock);
  picture.queued(rollouts(1, 3));
  picture.event("nobody listens");
  EXPECT_EQ(picture.num_waiting(), 0u);
  EXPECT_THAT(verbs(picture.take_whole({})),
              ElementsAre("MULTI", "DEL", "DEL", "HSET", "XGROUP", "XADD", "XADD", "XADD", "EXEC"));
}

TEST(RunPicture, AnActorIsWrittenEveryTwoSecondsHoweverOftenItIsHeardOf) {
  ManualClock clock;
  RunPicture picture("r", 100, clock);
  picture.take_whole({});
  for (int tenth = 0; tenth < 25; ++tenth) {
    picture.actor({"actor-0", {{"tokens", std::to_string(tenth)}}});
    clock.advance(100);
  }
  auto commands = changes(picture);
  EXPECT_THAT(verbs(commands), ElementsAre("DEL", "HSET", "PEXPIRE", "HSET", "PEXPIRE"));
  EXPECT_THAT(commands[3],
              ElementsAre("HSET", "sluice:{r}:actor:actor-0", "name", "actor-0", "tokens", "20"));

  picture.actor({"actor-0", {{"leases", "2"}}});  // what is no longer said goes at once
  EXPECT_THAT(verbs(changes(picture)), ElementsAre("DEL", "HSET", "PEXPIRE"));
}

TEST(RunPicture, ReadsAsManyAsTheBatchHolds) {
  const ManualClock clock;
  RunPicture picture("r", 100, clock);
  picture.take_whole({});
  picture.queued(rollouts(1, 3));
  picture.batched({2, 1});  // in line, whatever the order
  picture.batched({1, 9});  // in the batch already, and unknown
  const auto commands = changes(picture);
  EXPECT_THAT(verbs(commands), ElementsAre("XADD", "XADD", "XADD", "XREADGROUP"));
  EXPECT_EQ(commands.back()[5], "2");
  EXPECT_FALSE(picture.whole_due());
}

TEST(RunPicture, AGroupThatEndsUnreadIsRemovedWithoutAcknowledgement) {
  const ManualClock clock;
  RunPicture picture("r", 100, clock);
  picture.take_whole({});
  picture.queued(rollouts(1, 2));
  picture.queued(rollouts(1, 1));  // known already
  picture.batched({1});
  EXPECT_EQ(changes(picture).size(), 3u);
  picture.ended({2});
  EXPECT_THAT(verbs(changes(picture)), ElementsAre("XDEL"));
  picture.ended({1, 2});
  EXPECT_THAT(verbs(changes(picture)), ElementsAre("XACK", "XDEL"));
  picture.ended({1});
  EXPECT_TRUE(changes(picture).empty());
}

TEST(RunPicture, LetsTheOldestChangeGoAndAsksForTheWhole) {
  const ManualClock clock;
  RunPicture picture("r", 3, clock);
  picture.take_whole({});
  picture.event("heard by nobody");
  picture.queued(rollouts(1, 2));
  EXPECT_EQ(picture.num_dropped(), 0);
  picture.event("kept");
  EXPECT_EQ(picture.num_dropped(), 1);
  EXPECT_TRUE(picture.whole_due());
  const auto whole = picture.take_whole({});
  EXPECT_THAT(verbs(whole),
              ElementsAre("MULTI", "DEL", "DEL", "HSET", "XGROUP", "XADD", "XADD", "PUBLISH", "EXEC"));
  EXPECT_EQ(whole[7][2], "kept");
  EXPECT_FALSE(picture.whole_due());
}

TEST(RunPicture, AnActorThatWasSilentForTenSecondsIsNotShownAgain) {
  ManualClock clock;
  RunPicture picture("r", 100, clock);
  picture.actor({"old", {}});
  clock.advance(6'000);
  picture.actor({"young", {}});
  clock.advance(4'000);
  const auto whole = picture.take_whole({});
  EXPECT_THAT(verbs(whole),
              ElementsAre("MULTI", "DEL", "DEL", "HSET", "XGROUP", "DEL", "HSET", "PEXPIRE", "EXEC"));
  EXPECT_THAT(whole[7], ElementsAre("PEXPIRE", "sluice:{r}:actor:young", "6000"));
}

TEST(RunPicture, WritesTheMetricsAgainThatTheServerLacks) {
  const ManualClock clock;
  RunPicture picture("r", 100, clock);
  picture.write({.step = 1});
  // The clock of whoever wrote before was ahead by years: our entries still come after his.
  const StreamId ahead{uint64_t{1} << 50, 7};
  auto whole = picture.take_whole(ahead);
  ASSERT_EQ(whole.size(), 7u);
  EXPECT_EQ(whole[5][5], to_string({ahead.ms, 8}));
  picture.write({.step = 2});
  picture.write({.step = 3});
  const auto second = *parse_stream_id(changes(picture)[0][5]);
  EXPECT_EQ(verbs(picture.take_whole(second)).size(), 7u);  // step 3 alone
  EXPECT_EQ(verbs(picture.take_whole({})).size(), 9u);      // all three
}

TEST(StreamId, IsReadAsItIsWritten) {
  EXPECT_EQ(to_string({1700000000000, 3}), "1700000000000-3");
  EXPECT_EQ(parse_stream_id("1700000000000-3"), (StreamId{1700000000000, 3}));
  EXPECT_EQ(parse_stream_id("1700000000000"), std::nullopt);
  EXPECT_EQ(parse_stream_id("-3"), std::nullopt);
  EXPECT_EQ(parse_stream_id("1-3x"), std::nullopt);
}

}  // namespace
}  // namespace sluice::monitor::internal
