// Groups without spread, on a real socket: dropped, and another prompt asked for in their place.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/json.h"
#include "buffers/journal.h"
#include "tests/learner/rollout_server_case.h"
#include "tests/transport/opaque_weights.h"

namespace sluice::learner {
namespace {

using transport::opaque_weights;

constexpr uint64_t kFirst = uint64_t{1} << 40;  // the first refill of slot 0
constexpr uint64_t kSecond = uint64_t{2} << 40;

RolloutGroup spread(const Lease& lease) {
  auto group = answer(lease);
  group.completions[1].outcomes = {rewards::RewardOutcome::scored(0.0)};
  return group;
}
RolloutGroup flat(const Lease& lease) { return answer(lease); }  // 1 and 1

class RolloutRefills : public RolloutServerTest {
 protected:
  RolloutRefills() { options_.ledger.refills = 2; }

  std::unique_ptr<RolloutServer> start_publishing() {
    auto server = start();
    server->publish(0, opaque_weights("w"));
    return server;
  }
};

TEST_F(RolloutRefills, AskForAnotherPromptWhereAllRewardsAreEqual) {
  const auto server = start_publishing();
  Actor actor(server->address());
  actor.join(2);
  const auto zero = actor.lease();
  const auto one = actor.lease();

  actor.group(flat(zero), 1);
  ASSERT_TRUE(actor.next(FrameType::Ack));
  actor.ready(1);
  const auto again = actor.lease();
  EXPECT_EQ(again.group, kFirst);
  EXPECT_EQ(again.row.prompt, "prompt 1099511627776");  // another row, as make_lease says
  EXPECT_EQ(again.step, 0);
  EXPECT_EQ(again.version, 0);
  EXPECT_EQ(again.attempt, 0);
  EXPECT_EQ(ended(), Ids{0});
  EXPECT_EQ(buffers::describe(server->status().law),
            "issued 3 = trained 0 + queued 0 + leased 2 + dropped 1 + quarantined 0");
  EXPECT_EQ(server->status().reasons.at("no spread"), 1);

  actor.group(spread(one), 2);
  ASSERT_TRUE(actor.next(FrameType::Ack));
  EXPECT_EQ(queued(), Ids{});  // it waits for the slot before it
  actor.group(spread(again), 3);

  EXPECT_EQ(ids(server->take_batch(0, kSoon)), (Ids{kFirst, 1}));
  EXPECT_EQ(queued(), (Ids{kFirst, 1}));
  EXPECT_EQ(server->refills().refills, 1);
  EXPECT_EQ(server->refills().given_up, 0);
  server->trained(0);
  EXPECT_TRUE(server->status().law.holds());
}

TEST_F(RolloutRefills, AreOffUnlessAskedFor) {
  options_.ledger.refills = 0;
  const auto server = start_publishing();
  Actor actor(server->address());
  actor.join(2);
  actor.group(flat(actor.lease()), 1);
  actor.group(flat(actor.lease()), 2);

  EXPECT_EQ(ids(server->take_batch(0, kSoon)), (Ids{0, 1}));
}

// Answers slot 0 with groups without spread until no refill is left, slot 1 with one that has some.
void answer_in_vain(Actor& actor) {
  actor.join(2);
  auto lease = actor.lease();
  actor.group(spread(actor.lease()), 1);
  for (uint64_t refill = 0; refill < 3; ++refill) {
    EXPECT_EQ(lease.group, buffers::group_id(0, static_cast<int64_t>(refill)));
    actor.group(flat(lease), 2 + refill);
    if (refill == 2) return;
    actor.ready(1);
    lease = actor.lease();
  }
}

TEST_F(RolloutRefills, KeepTheLastGroupWhereTheRecipeSaysSo) {
  const auto server = start_publishing();
  Actor actor(server->address());
  answer_in_vain(actor);

  EXPECT_EQ(ids(server->take_batch(0, kSoon)), (Ids{kSecond, 1}));
  EXPECT_EQ(server->refills().refills, 2);
  EXPECT_EQ(server->refills().given_up, 0);
}

TEST_F(RolloutRefills, ShortenTheBatchWhereTheRecipeSaysSo) {
  options_.refill_fallback = RefillFallback::Shrink;
  const auto server = start_publishing();
  Actor actor(server->address());
  answer_in_vain(actor);

  EXPECT_EQ(ids(server->take_batch(0, kSoon)), Ids{1});
  EXPECT_EQ(server->refills().refills, 2);
  EXPECT_EQ(server->refills().given_up, 1);
  EXPECT_EQ(ended(), (Ids{0, kFirst, kSecond}));
  EXPECT_EQ(server->status().reasons.at("no spread"), 3);
}

TEST_F(RolloutRefills, StopTheRunWhereTheRecipeSaysSo) {
  options_.refill_fallback = RefillFallback::Stop;
  const auto server = start_publishing();
  Actor actor(server->address());
  answer_in_vain(actor);

  const auto message = message_of<HealthError>([&] { server->take_batch(0, kSoon); });
  EXPECT_NE(
      message.find("step 1 found no prompt to learn from: 3 were tried and each time all 2 completions"),
      std::string::npos)
      << message;
  EXPECT_NE(message.find("rollout.refill_fallback = \"keep\""), std::string::npos) << message;
}

TEST_F(RolloutRefills, AnOldGroupThatComesAgainIsAcknowledgedAndCounted) {
  const auto server = start_publishing();
  Actor actor(server->address());
  actor.join(1);
  const auto zero = actor.lease();
  actor.group(flat(zero), 1);
  ASSERT_TRUE(actor.next(FrameType::Ack));

  actor.group(spread(zero), 2);  // as another actor would not have answered: the first result counts

  EXPECT_EQ(actor.next(FrameType::Ack)->sequence, 2u);
  EXPECT_EQ(server->status().duplicates, 1);
  EXPECT_EQ(server->status().law.queued, 0);
}

TEST_F(RolloutRefills, AQuarantinedGroupIsNotReplaced) {
  const auto server = start_publishing();
  Actor actor(server->address());
  actor.join(2);
  actor.group(flat(actor.lease()), 1);
  actor.group(spread(actor.lease()), 2);
  actor.ready(1);
  actor.group(answer(actor.lease(), /*num_scored=*/1), 3);

  EXPECT_EQ(ids(server->take_batch(0, kSoon)), Ids{1});
  const auto json = read_json(options_.quarantine / "group_00000000_refill_1.json");
  EXPECT_EQ(json["group"], kFirst);
}

TEST_F(RolloutRefills, GoOnWhereACrashLeftThem) {
  {
    const auto server = start_publishing();
    Actor actor(server->address());
    actor.join(2);
    actor.group(flat(actor.lease()), 1);
    actor.group(spread(actor.lease()), 2);
    actor.ready(1);
    EXPECT_EQ(actor.lease().group, kFirst);  // never answered
  }

  const auto server = start();
  EXPECT_EQ(buffers::describe(server->status().law),
            "issued 3 = trained 0 + queued 1 + leased 1 + dropped 1 + quarantined 0");
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address(), identity("actor-0", 2));
  actor.join(1);
  const auto again = actor.lease();
  EXPECT_EQ(again.group, kFirst);
  actor.group(spread(again), 1);
  EXPECT_EQ(ids(server->take_batch(0, kSoon)), (Ids{kFirst, 1}));
}

// The machine lost its power: the journal ends before the fate of group 0, whose refill an actor has.
TEST_F(RolloutRefills, WhatTheJournalLostIsDecidedAgainAlike) {
  uintmax_t before = 0;
  Lease zero, again;
  {
    const auto server = start_publishing();
    Actor actor(server->address());
    actor.join(1);
    zero = actor.lease();
    before = std::filesystem::file_size(options_.journal);
    actor.group(flat(zero), 1);
    ASSERT_TRUE(actor.next(FrameType::Ack));
    actor.ready(1);
    again = actor.lease();
  }
  std::filesystem::resize_file(options_.journal, before);

  const auto server = start_publishing();
  Actor actor(server->address(), identity("actor-0", 2));
  actor.join(0);
  actor.group(spread(again), 7);
  actor.group(flat(zero), 8);
  EXPECT_EQ(actor.next(FrameType::Ack)->sequence, 8u);  // the other stays with its actor until it is issued
  EXPECT_TRUE(noticed("sent group 0 (refill 1), which was not issued in this history"));
  actor.ready(1);
  EXPECT_EQ(buffers::encode_lease(actor.lease()), buffers::encode_lease(again));
  actor.group(spread(again), 7);
  EXPECT_EQ(actor.next(FrameType::Ack)->sequence, 7u);
}

TEST_F(RolloutRefills, FillEveryBatchWithoutExactVersionsToo) {
  options_.ledger.exact_versions = false;
  const auto server = start_publishing();
  Actor actor(server->address());
  actor.join(3);
  actor.group(flat(actor.lease()), 1);
  actor.group(spread(actor.lease()), 2);
  actor.ready(1);
  Lease lease = actor.lease();
  while (lease.group != kFirst) lease = actor.lease();
  actor.group(spread(lease), 3);

  EXPECT_EQ(ids(server->take_batch(0, kSoon)), (Ids{1, kFirst}));
  EXPECT_EQ(server->refills().refills, 1);
}

}  // namespace
}  // namespace sluice::learner
