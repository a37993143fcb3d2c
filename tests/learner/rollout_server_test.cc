#include "learner/rollout_server.h"

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "buffers/journal.h"
#include "tests/learner/rollout_server_case.h"
#include "tests/transport/opaque_weights.h"

namespace sluice::learner {
namespace {

using transport::opaque_weights;

TEST_F(RolloutServerTest, FillsEveryBatchAndTheLawCloses) {
  const auto server = start();
  WorkingActor first(server->address(), "actor-0");
  WorkingActor second(server->address(), "actor-1");
  ASSERT_TRUE(soon([&] { return server->status().actors.size() == 2; }));

  for (int64_t step = 0; step < 4; ++step) {
    server->publish(step, opaque_weights("weights " + std::to_string(step)));
    const auto batch = server->take_batch(step, kSoon);
    ASSERT_TRUE(batch) << "step " << step;
    const auto low = static_cast<uint64_t>(step) * 2;
    EXPECT_EQ(ids(batch), (Ids{low, low + 1}));
    EXPECT_EQ((*batch)[0].completions[0].versions[0], std::max<int64_t>(0, step - 1));
    server->trained(step);
    EXPECT_TRUE(server->status().law.holds());
  }

  const auto status = server->status();
  EXPECT_EQ(buffers::describe(status.law),
            "issued 8 = trained 8 + queued 0 + leased 0 + dropped 0 + quarantined 0");
  EXPECT_EQ(queued(), (Ids{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST_F(RolloutServerTest, TellsTheActorsToStop) {
  auto server = start();
  server->publish(0, opaque_weights("w"));
  WorkingActor actor(server->address(), "actor-0");
  ASSERT_TRUE(soon([&] { return server->status().actors.size() == 1; }));

  server.reset();

  EXPECT_TRUE(soon([&] { return actor.stopped.load(); }));
}

TEST_F(RolloutServerTest, AnnouncesTheWeightsOfALeaseBeforeIt) {
  const auto server = start();
  server->publish(0, opaque_weights("version zero"));
  Actor actor(server->address());
  actor.join(1);

  const auto lease = actor.lease();

  EXPECT_EQ(lease.group, 0u);
  EXPECT_EQ(lease.num_samples, 2);
  EXPECT_TRUE(lease.exact_version);
  EXPECT_EQ(lease.lease_ms, 60'000);
  ASSERT_TRUE(actor.weights.contains(lease.version));
  EXPECT_EQ(transport::MappedWeights(actor.weights[lease.version]).bytes(), "version zero");
}

TEST_F(RolloutServerTest, GivesNoLeaseWithoutWeightsAndNoMoreThanItWasGivenCredit) {
  const auto server = start();
  Actor actor(server->address());
  actor.join(3);
  EXPECT_FALSE(actor.next(FrameType::Lease, 50));

  server->publish(0, opaque_weights("w"));

  for (uint64_t group = 0; group < 3; ++group) EXPECT_EQ(actor.lease().group, group);
  EXPECT_FALSE(actor.next(FrameType::Lease, 50));
  EXPECT_EQ(server->status().actors.at(0).leases, 3);
  actor.ready(5);
  EXPECT_EQ(actor.lease().group, 3u);
  EXPECT_FALSE(actor.next(FrameType::Lease, 50));  // step 2 needs version 1
  EXPECT_EQ(server->status().credits, 4);
}

TEST_F(RolloutServerTest, LetsGoOfWeightsThatNobodyNeeds) {
  const auto server = start();
  server->publish(0, opaque_weights("w0"));
  Actor actor(server->address());
  actor.join(8);
  for (uint64_t group = 0; group < 4; ++group) actor.group(answer(actor.lease()), group);
  ASSERT_TRUE(server->take_batch(0, kSoon));
  server->trained(0);
  ASSERT_TRUE(soon([&] { return server->status().queue_depth == 2; }));

  server->publish(1,
                  opaque_weights("w1"));  // all of steps 0 and 1 are there: nothing names version 0 any more

  EXPECT_EQ(actor.lease().version, 1);
  EXPECT_THROW(transport::MappedWeights{actor.weights.at(0)}, EnvironmentError);
  EXPECT_EQ(transport::MappedWeights(actor.weights.at(1)).bytes(), "w1");
}

TEST_F(RolloutServerTest, TellsOfGroupsInBatchingOrder) {
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address());
  actor.join(2);
  const auto zero = actor.lease();
  const auto one = actor.lease();

  actor.group(answer(one), 1);
  ASSERT_TRUE(actor.next(FrameType::Ack));
  EXPECT_EQ(queued(), Ids{});
  EXPECT_EQ(server->status().queue_depth, 1);
  actor.group(answer(zero), 2);

  EXPECT_EQ(ids(server->take_batch(0, kSoon)), (Ids{0, 1}));
  EXPECT_EQ(queued(), (Ids{0, 1}));
}

TEST_F(RolloutServerTest, TakesTheFirstThatArriveWithoutExactVersions) {
  options_.ledger.exact_versions = false;
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address());
  actor.join(3);
  const auto zero = actor.lease();
  const auto one = actor.lease();
  const auto two = actor.lease();

  actor.group(answer(two), 1);
  actor.group(answer(one), 2);
  EXPECT_EQ(ids(server->take_batch(0, kSoon)), (Ids{2, 1}));
  EXPECT_EQ(queued(), (Ids{2, 1}));
  server->trained(0);
  server->publish(1, opaque_weights("w"));
  server->publish(2, opaque_weights("w"));
  actor.group(answer(zero), 3);  // of version 0: too old for step 2
  ASSERT_TRUE(actor.next(FrameType::Ack));

  EXPECT_FALSE(server->take_batch(2, 20));
  EXPECT_TRUE(soon([&] { return ended() == Ids{0}; }));
  EXPECT_EQ(server->status().reasons.at("stale"), 1);
}

TEST_F(RolloutServerTest, ShowsTheNextBatchWhileTheOneBeforeIsTrained) {
  for (const bool exact : {true, false}) {
    SCOPED_TRACE(exact);
    options_.ledger.exact_versions = exact;
    options_.journal = folder_ / (exact ? "exact" : "free");
    const auto server = start();
    server->publish(0, opaque_weights("w"));
    Actor actor(server->address());
    actor.join(4);
    std::vector<Lease> leases;
    for (int i = 0; i < 4; ++i) leases.push_back(actor.lease());
    for (size_t i = 0; i < 3; ++i) actor.group(answer(leases[i]), i + 1);
    ASSERT_TRUE(server->take_batch(0, kSoon));

    std::optional<std::vector<RolloutGroup>> next;
    {
      std::jthread waits([&](const std::stop_token& stop) { next = server->next_batch(1, stop); });
      actor.group(answer(leases[3]), 4);
      ASSERT_TRUE(soon([&] { return server->status().queue_depth == 2; }));
      waits.join();
    }
    EXPECT_EQ(ids(next), (Ids{2, 3}));
    EXPECT_EQ(server->status().queue_depth, 2);  // they are still there
    server->trained(0);
    EXPECT_EQ(ids(server->take_batch(1, kSoon)), (Ids{2, 3}));

    // What was taken is not the next any more.
    std::jthread never([&](const std::stop_token& stop) { next = server->next_batch(1, stop); });
    never.request_stop();
    never.join();
    EXPECT_FALSE(next);
  }
}

TEST_F(RolloutServerTest, AcknowledgesADuplicateAgainAndCountsIt) {
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address());
  actor.join(1);
  const auto group = answer(actor.lease());

  actor.group(group, 41);
  EXPECT_EQ(actor.next(FrameType::Ack)->sequence, 41u);
  actor.group(group, 41);
  EXPECT_EQ(actor.next(FrameType::Ack)->sequence, 41u);

  EXPECT_EQ(server->status().duplicates, 1);
  EXPECT_EQ(server->status().law.queued, 1);
}

TEST_F(RolloutServerTest, AcknowledgesOnlyWhatIsInTheJournal) {
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address());
  actor.join(1);
  actor.group(answer(actor.lease()), 1);
  ASSERT_TRUE(actor.next(FrameType::Ack));

  Ids journalled;
  buffers::Journal::read(options_.journal,
                         {.group = [&](const RolloutGroup& group) { journalled.push_back(group.group); }});
  EXPECT_EQ(journalled, Ids{0});
}

TEST_F(RolloutServerTest, LeasesOfAnActorThatDiesGoToAnother) {
  options_.actor_timeout_ms = 150;
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  auto dying = std::make_unique<Actor>(server->address(), identity("actor-0"));
  dying->join(2);
  dying->lease();
  dying->lease();
  dying.reset();

  WorkingActor other(server->address(), "actor-1");
  const auto batch = server->take_batch(0, kSoon);

  ASSERT_EQ(ids(batch), (Ids{0, 1}));
  EXPECT_EQ((*batch)[0].attempt, 0);  // a clock alone says so: it may be alive
  EXPECT_TRUE(noticed("actor-0 was not heard of for 0.1 s; leases given back: 2") ||
              noticed("actor-0 cannot be reached; leases given back: 2"));
  EXPECT_TRUE(server->status().law.holds());
}

TEST_F(RolloutServerTest, ARestartedActorTakesThePlaceOfItsFormerProcessAtOnce) {
  options_.actor_timeout_ms = 60'000;
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor before(server->address(), identity("actor-0", 1));
  before.join(1);
  const auto old = before.lease();

  Actor after(server->address(), identity("actor-0", 2));
  after.join(1);

  const auto lease = after.lease();
  EXPECT_EQ(lease.group, old.group);
  EXPECT_EQ(lease.attempt, 1);
  EXPECT_TRUE(noticed("actor-0 joined in place of its former process"));
  EXPECT_EQ(server->status().actors.size(), 1u);
}

TEST_F(RolloutServerTest, ADeathIsAnAttemptAlsoWhenItWasTakenForSilence) {
  options_.actor_timeout_ms = 100;
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor before(server->address(), identity("actor-0", 1));
  before.join(1);
  EXPECT_EQ(before.lease().attempt, 0);
  ASSERT_TRUE(soon([&] { return noticed("was not heard of"); }));

  Actor after(server->address(), identity("actor-0", 2));
  after.join(1);

  const auto lease = after.lease();
  EXPECT_EQ(lease.group, 0u);
  EXPECT_EQ(lease.attempt, 1);
}

TEST_F(RolloutServerTest, AnActorThatWasSilentGoesOnWhereItWas) {
  options_.actor_timeout_ms = 100;
  const auto server = start();
  Actor actor(server->address());
  actor.join(2);
  ASSERT_TRUE(soon([&] { return server->status().actors.empty() && noticed("was not heard of"); }));

  actor.heartbeat(12, 0);
  server->publish(0, opaque_weights("w"));

  EXPECT_EQ(actor.lease().group, 0u);
  EXPECT_TRUE(noticed("actor-0 is heard again"));
}

TEST_F(RolloutServerTest, AsksAStrangerWhoItIs) {
  const auto server = start();
  Actor actor(server->address());

  actor.heartbeat(0, 0);  // as after a restart of the learner

  EXPECT_TRUE(actor.next(FrameType::Hello));
}

TEST_F(RolloutServerTest, AnswersEveryHeartbeatSoThatItIsKnownToBeAlive) {
  const auto server = start();
  Actor actor(server->address());
  actor.join(1);

  for (uint64_t beat = 1; beat <= 3; ++beat) {
    actor.heartbeat(10 * beat, 0);
    const auto answer = actor.next(FrameType::Ack);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->sequence, 0u);
  }
  EXPECT_EQ(server->status().actors.at(0).tokens, 30u);
}

TEST_F(RolloutServerTest, ALeaseThatWasLostOnItsWayIsGivenAgain) {
  options_.ledger.lease_ms = 200;
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address());
  actor.join(1);
  actor.lease();

  // It says that it holds none, as if that one had not come.
  Millis waited = 0;
  std::optional<Frame> again;
  while (!again && waited < kSoon) {
    actor.heartbeat(0, 0);
    actor.ready(1);
    do {
      again = actor.next(FrameType::Lease, 20);
    } while (again && buffers::decode_lease(again->payload).group != 0);
    waited += 20;
  }
  ASSERT_TRUE(again);
  EXPECT_EQ(buffers::decode_lease(again->payload).attempt, 0);  // nobody died of it
}

TEST_F(RolloutServerTest, HeartbeatsKeepALeaseAlive) {
  options_.ledger.lease_ms = 150;
  options_.ledger.total_steps = 1;
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address());
  actor.join(2);
  const auto zero = actor.lease();
  const auto one = actor.lease();

  for (int beat = 0; beat < 20; ++beat) {  // more than twice the time of a lease
    actor.heartbeat(static_cast<uint64_t>(beat), 2);
    actor.ready(1);
    EXPECT_FALSE(actor.next(FrameType::Lease, 20));
  }
  EXPECT_EQ(server->status().actors.at(0).tokens, 19u);
  actor.group(answer(zero), 1);
  actor.group(answer(one), 2);
  EXPECT_EQ((*server->take_batch(0, kSoon))[0].attempt, 0);
}

// A step of the training loop may take minutes, in which nobody calls the server.
TEST_F(RolloutServerTest, TellsOfActorsThatGiveASignOfLifeByItself) {
  const auto server = start();
  Actor one(server->address(), identity("actor-1")), two(server->address(), identity("actor-2"));
  one.join(0);
  two.join(0);
  const auto beats_until = [&](const std::vector<Actor*>& actors, const auto& holds) {
    const SteadyClock clock;
    const Millis deadline = clock.now_ms() + kSoon;
    while (!holds() && clock.now_ms() < deadline) {
      for (auto* actor : actors) actor->heartbeat(7, 0);
      actors.front()->next(FrameType::Ack, 20);
    }
    return holds();
  };
  const std::map<std::string, uint64_t> both{{"actor-1", 7}, {"actor-2", 7}}, first{{"actor-1", 7}};
  EXPECT_TRUE(beats_until({&one, &two}, [&] { return heard() == both; }));
  EXPECT_TRUE(beats_until({&one}, [&] { return heard() == first; }));
  EXPECT_EQ(server->status().actors.size(), 2u);  // which is not given up for it
}

TEST_F(RolloutServerTest, RefusesAnotherTokenizerTemplateAndRewardsWithBothHashes) {
  const auto server = start();
  struct Other {
    std::string transport::Identity::*hash;
    const char *says, *notice;
  };
  for (const auto& [hash, says, notice] :
       {Other{&transport::Identity::tokenizer_hash, "the learner has t1, the actor has x2",
              "the tokenizer differs"},
        Other{&transport::Identity::template_hash, "the learner has none, the actor has x2",
              "the chat template differs"},
        Other{&transport::Identity::rewards_hash, "the learner has none, the actor has x2",
              "the reward configuration differs"}}) {
    auto other = identity("actor-0");
    other.*hash = "x2";
    Actor actor(server->address(), other);
    actor.hello();

    const auto frame = actor.next(FrameType::Refuse);

    ASSERT_TRUE(frame);
    EXPECT_NE(frame->payload.find(says), std::string::npos) << frame->payload;
    EXPECT_TRUE(noticed(std::string("actor-0: ") + notice));
    EXPECT_TRUE(server->status().actors.empty());
  }
}

TEST_F(RolloutServerTest, RefusesAnotherProtocolAndWhatIsNoIdentity) {
  const auto server = start();
  auto other = identity("actor-0");
  other.protocol = 1;
  Actor actor(server->address(), other);
  actor.hello();
  EXPECT_NE(actor.next(FrameType::Refuse)->payload.find("the learner has 3, the actor has 1"),
            std::string::npos);

  actor.send(FrameType::Hello, "{");
  EXPECT_TRUE(actor.next(FrameType::Refuse));
}

TEST_F(RolloutServerTest, RefusesAnActorWhoseFramesMakeNoSenseAndLeasesAnew) {
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  int number = 0;
  const auto expect_refused = [&](FrameType type, const auto& payload_for, const std::string& reason) {
    Actor actor(server->address(), identity("actor-" + std::to_string(number++)));
    actor.join(1);
    const auto lease = actor.lease();
    EXPECT_EQ(lease.group, 0u);
    actor.send(type, payload_for(lease));
    const auto frame = actor.next(FrameType::Refuse);
    ASSERT_TRUE(frame) << reason;
    EXPECT_NE(frame->payload.find(reason), std::string::npos) << frame->payload;
  };

  expect_refused(
      FrameType::Group, [](const Lease&) { return std::string("garbage"); }, "rollout group");
  expect_refused(
      FrameType::Ready, [](const Lease&) { return std::string("12345"); }, "ready of actor-1");
  EXPECT_TRUE(server->status().actors.empty());
  EXPECT_TRUE(server->status().law.holds());
}

TEST_F(RolloutServerTest, RefusesAGroupThatIsNotWhatWasLeased) {
  options_.limits.max_tokens = 4;
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  int number = 0;
  const auto expect_refused = [&](const auto& spoil, const std::string& reason) {
    Actor actor(server->address(), identity("actor-" + std::to_string(number++)));
    actor.join(1);
    auto group = answer(actor.lease());
    EXPECT_EQ(group.group, 0u);
    spoil(group);
    actor.group(group, 1);
    const auto frame = actor.next(FrameType::Refuse);
    ASSERT_TRUE(frame) << reason;
    EXPECT_EQ(frame->payload, reason);
  };

  expect_refused([](RolloutGroup& group) { group.prompt.clear(); }, "group 0 has an empty prompt");
  expect_refused([](RolloutGroup& group) { group.prompt_text = "prompt 1"; },
                 "group 0 has another prompt than rows.jsonl:1");
  expect_refused([](RolloutGroup& group) { group.prompt.push_back(3); },
                 "group 0 has a sequence of 5 tokens, the model takes 4");
  expect_refused([](RolloutGroup& group) { group.completions.pop_back(); },
                 "group 0 has 1 completions, 2 were asked for");
  expect_refused([](RolloutGroup& group) { group.completions[1].outcomes.clear(); },
                 "group 0 has 0 outcomes for a completion, the run has 1 rewards");
  expect_refused([](RolloutGroup& group) { group.step = 1; },
                 "group 0 is for step 1, it was leased for step 0");
  expect_refused([](RolloutGroup& group) { group.completions[1].versions[1] = 3; },
                 "group 0 has a token of version 3, the lease names version 0");
  EXPECT_EQ(server->status().law.queued, 0);
}

// As after a power cut that lost the record of its issue: it will be leased again, and its actor has it.
TEST_F(RolloutServerTest, AGroupThatWasNotIssuedIsLeftWithItsActorUntilItIs) {
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address());
  actor.join(0);
  Lease lease{.group = 0, .num_samples = 2};
  lease.row.prompt = "prompt 0";

  actor.group(answer(lease), 9);
  actor.heartbeat(0, 0);

  EXPECT_EQ(actor.next(FrameType::Ack)->sequence, 0u);  // of the heartbeat
  EXPECT_TRUE(noticed("actor-0 sent group 0, which was not issued in this history"));
  EXPECT_EQ(server->status().law.issued, 0);

  actor.ready(1);
  EXPECT_EQ(actor.lease().group, 0u);
  actor.group(answer(lease), 9);
  EXPECT_EQ(actor.next(FrameType::Ack)->sequence, 9u);
  EXPECT_EQ(server->status().law.queued, 1);
}

// What a spool may bring to a learner that was resumed: the prompt of a later step may hang on steps before
// it.
TEST_F(RolloutServerTest, AGroupOfAVersionStillToComeIsLeftWithItsActorUntilItIsThere) {
  auto server = start();
  server->publish(0, opaque_weights("w"));
  std::vector<Lease> leases;
  {
    Actor actor(server->address());
    actor.join(4);
    for (int i = 0; i < 4; ++i) leases.push_back(actor.lease());  // of steps 0 and 1
    for (uint64_t i = 0; i < 2; ++i) actor.group(answer(leases[i]), i + 1);
    EXPECT_TRUE(server->take_batch(0, kSoon));
    server->trained(0);
    server->publish(1, opaque_weights("w1"));
    actor.ready(2);
    for (int i = 0; i < 2; ++i) leases.push_back(actor.lease());  // of step 2, from version 1
  }
  server.reset();

  server = start(/*from_step=*/0);
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address());
  actor.join(0);
  actor.group(answer(leases[4]), 1);
  actor.group(answer(leases[2]), 2);
  EXPECT_EQ(actor.next(FrameType::Ack)->sequence, 2u);
  EXPECT_TRUE(server->take_batch(0, kSoon));
  server->trained(0);
  server->publish(1, opaque_weights("w1"));
  actor.group(answer(leases[4]), 1);
  EXPECT_EQ(actor.next(FrameType::Ack)->sequence, 1u);
}

TEST_F(RolloutServerTest, QuarantinesAGroupWithTooFewScores) {
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address());
  actor.join(2);
  const auto zero = actor.lease();
  const auto one = actor.lease();

  actor.group(answer(zero, /*num_scored=*/1), 1);
  EXPECT_TRUE(actor.next(FrameType::Ack));
  actor.group(answer(one), 2);

  EXPECT_EQ(ids(server->take_batch(0, kSoon)), Ids{1});
  const std::string reason = "too few scored samples: 1 of 2 (timeout)";
  EXPECT_EQ(server->status().reasons.at(reason), 1);
  EXPECT_EQ(ended(), Ids{0});
  const auto json = read_json(options_.quarantine / "group_00000000.json");
  EXPECT_EQ(json["reason"], reason);
  EXPECT_EQ(json["prompt"], "prompt 0");
  EXPECT_EQ(json["row"], "rows.jsonl:1");
  EXPECT_EQ(json["completions"][0]["outcomes"][0]["score"], 1.0);
  EXPECT_EQ(json["completions"][1]["outcomes"][0]["unscored"], "timeout");
}

TEST_F(RolloutServerTest, QuarantinesAGroupWhoseTotalRewardIsNotFinite) {
  options_.reward_weights = {10.0};
  options_.min_scored = 1;
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address());
  actor.join(2);
  auto zero = answer(actor.lease());
  zero.completions[1].outcomes = {rewards::RewardOutcome::scored(1e308)};

  actor.group(zero, 1);
  ASSERT_TRUE(actor.next(FrameType::Ack));

  EXPECT_EQ(server->status().reasons.at("total_reward: the weighted sum is inf"), 1);
  EXPECT_EQ(server->status().law.quarantined, 1);
}

TEST_F(RolloutServerTest, QuarantinesAPromptThatNoActorSurvives) {
  options_.ledger.max_attempts = 2;
  options_.ledger.prompts_per_step = 1;
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  for (uint64_t incarnation = 1; incarnation <= 3; ++incarnation) {
    Actor actor(server->address(), identity("actor-0", incarnation));
    actor.join(1);
    if (incarnation <= 2) {
      EXPECT_EQ(actor.lease().group, 0u);
      continue;
    }
    EXPECT_EQ(actor.lease().group, 1u);
  }

  EXPECT_EQ(ids(server->take_batch(0, kSoon)), Ids{});  // an empty batch, not none
  EXPECT_EQ(server->status().law.quarantined, 1);
  EXPECT_EQ(read_json(options_.quarantine / "group_00000000.json")["reason"], "no result after 2 leases");
}

TEST_F(RolloutServerTest, GoesOnWhereACrashLeftIt) {
  std::vector<RolloutGroup> before;
  {
    const auto server = start();
    server->publish(0, opaque_weights("w"));
    Actor actor(server->address());
    actor.join(4);
    for (uint64_t sequence = 0; sequence < 3; ++sequence) actor.group(answer(actor.lease()), sequence);
    actor.lease();  // of group 3, never answered
    before = *server->take_batch(0, kSoon);
    ASSERT_TRUE(soon([&] { return server->status().queue_depth == 1; }));
  }  // step 0 was not trained

  const auto server = start();
  EXPECT_EQ(buffers::describe(server->status().law),
            "issued 4 = trained 0 + queued 3 + leased 1 + dropped 0 + quarantined 0");
  const auto again = server->take_batch(0, kSoon);
  ASSERT_TRUE(again);
  ASSERT_EQ(ids(again), ids(before));
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(buffers::encode_group((*again)[i]), buffers::encode_group(before[i]));
  }
  server->trained(0);

  server->publish(0, opaque_weights("w"));
  Actor actor(server->address(), identity("actor-0", 2));
  actor.join(1);
  const auto lost = actor.lease();
  EXPECT_EQ(lost.group, 3u);
  actor.group(answer(lost), 1);
  EXPECT_EQ(ids(server->take_batch(1, kSoon)), (Ids{2, 3}));
}

TEST_F(RolloutServerTest, QuarantinesWhatTurnsOutToBePoisonedInItsStep) {
  {
    const auto server = start();
    server->publish(0, opaque_weights("w"));
    WorkingActor actor(server->address(), "actor-0");
    const auto batch = server->take_batch(0, kSoon);
    ASSERT_TRUE(batch);
    server->trained(0, {{(*batch)[1], "the loss of a token is not finite"}});
    const auto law = server->status().law;
    EXPECT_TRUE(law.holds());
    EXPECT_EQ(law.trained, 1);
    EXPECT_EQ(law.quarantined, 1);
  }
  const auto json = read_json(options_.quarantine / "group_00000001.json");
  EXPECT_EQ(json["reason"], "the loss of a token is not finite");
  EXPECT_EQ(json["completions"].size(), 2u);

  EXPECT_EQ(start(/*from_step=*/1)->status().law.quarantined, 1);  // what a resumed run knows
  EXPECT_EQ(ids(start()->take_batch(0, kSoon)), (Ids{0, 1}));      // what one that takes the step back does
}

TEST_F(RolloutServerTest, GoesBackToAStepWithoutThePoison) {
  {
    const auto server = start();
    server->publish(0, opaque_weights("w"));
    WorkingActor actor(server->address(), "actor-0");
    const auto batch = server->take_batch(0, kSoon);
    ASSERT_TRUE(batch);
    server->trained(0, {{(*batch)[0], "poison"}});
    EXPECT_FALSE(server->status().restored_to);
    server->restore(0);
  }

  const auto server = start();

  EXPECT_EQ(server->status().restored_to, 0);
  EXPECT_EQ(ids(server->take_batch(0, kSoon)), Ids{1});
  EXPECT_EQ(server->status().reasons.at("poison"), 1);
}

TEST_F(RolloutServerTest, TheWholeBacklogOfARewoundRunFits) {
  options_.ledger.total_steps = 20;
  {
    const auto server = start();
    WorkingActor actor(server->address(), "actor-0");
    for (int64_t step = 0; step < 20; ++step) {
      server->publish(step, opaque_weights("w"));
      ASSERT_TRUE(server->take_batch(step, kSoon));
      server->trained(step);
    }
  }
  const auto server = start(/*from_step=*/2);  // the last checkpoint: 36 groups are queued again

  for (int64_t step = 2; step < 20; ++step) {
    const auto low = static_cast<uint64_t>(step) * 2;
    EXPECT_EQ(ids(server->take_batch(step, kSoon)), (Ids{low, low + 1}));
    server->trained(step);
  }
  EXPECT_EQ(server->status().law.trained, 40);
}

TEST_F(RolloutServerTest, TellsWhatACrashLeftInTheJournal) {
  start().reset();
  std::ofstream(options_.journal, std::ios::app) << "torn";

  const auto server = start();

  EXPECT_TRUE(soon([&] { return noticed("journal: cut 4 bytes that a crash left"); }));
  EXPECT_EQ(server->status().torn_bytes, 4);
}

TEST_F(RolloutServerTest, ABatchThatDoesNotComeIsWaitedForUntilTheDeadline) {
  const auto server = start();
  server->publish(0, opaque_weights("w"));

  EXPECT_FALSE(server->take_batch(0, 20));
}

TEST_F(RolloutServerTest, WhatGoesWrongInTheThreadIsThrownHere) {
  fail_leases_ = true;
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  Actor actor(server->address());
  actor.join(1);

  try {
    server->take_batch(0, kSoon);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the rows are gone");
  }
  EXPECT_THROW(server->publish(1, opaque_weights("w")), Error);
  EXPECT_THROW(server->trained(0), Error);
}

TEST_F(RolloutServerTest, OnlyTheStepOfTheLastBatchCanBeTrained) {
  const auto server = start();
  EXPECT_THROW(server->trained(0), Error);
}

TEST_F(RolloutServerTest, AnAddressThatIsTakenIsNamed) {
  options_.address = "tcp://127.0.0.1:0";
  const auto first = start();
  options_.address = first->address();
  options_.journal = folder_ / "another journal";

  EXPECT_THROW(start(), EnvironmentError);
}

TEST_F(RolloutServerTest, GarbageOnTheSocketDisturbsNobody) {
  const auto server = start();
  server->publish(0, opaque_weights("w"));
  transport::DealerSocket stranger(server->address(), transport::run_hash("run-2"));
  for (int i = 0; i < 1000; ++i) {
    if (!stranger.send({.type = FrameType::Group, .payload = std::string(1000, 'x')}, kSoon)) break;
  }
  WorkingActor actor(server->address(), "actor-0");

  EXPECT_TRUE(server->take_batch(0, kSoon));
  EXPECT_TRUE(soon([&] { return server->status().rejected_frames > 0; }));
}

}  // namespace
}  // namespace sluice::learner
