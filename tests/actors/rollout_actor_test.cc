#include "actors/rollout_actor.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
#include <map>
#include <optional>
#include <thread>

#include "actors/completion_text.h"
#include "base/byte_codec.h"
#include "base/error.h"
#include "base/pulse.h"
#include "tests/actors/actor_cases.h"
#include "tests/actors/scorer_cases.h"
#include "tests/actors/tool_cases.h"
#include "tests/base/temp_folder.h"
#include "transport/shared_weights.h"
#include "transport/sockets.h"

namespace sluice::actors {
namespace {

using testing::HasSubstr;
using transport::Frame;
using transport::FrameType;

constexpr Millis kSoon = 20'000;  // a deadline no passing test reaches
constexpr const char* kRun = "run-1";
constexpr const char* kWelcome = R"({"heartbeat_ms": 1000, "history": 0})";

// A learner of a few lines, and an actor in a thread of its own.
class RolloutActor : public testing::Test {
 protected:
  RolloutActor() {
    options_ = {
        .address = "ipc://" + (folder_ / "learner").string(),
        .identity = {.run = kRun, .role = "actor", .name = "actor-0", .incarnation = 77, .pid = ::getpid()},
        .leases_ahead = 2,
        .heartbeat_ms = 50};
    options_.identity.tokenizer_hash = tokenizer_->hash();
  }
  ~RolloutActor() override {
    interrupted_ = true;
    if (end_.valid()) end_.wait();
  }

  void listen() { router_.emplace(options_.address, transport::run_hash(kRun)); }
  void start() {
    end_ = std::async(std::launch::async, [this] {
      const auto network = decided_network(/*seed=*/1);  // its own weights are never used
      return run_rollout_actor(*network, *tokenizer_, rewards_, options_,
                               [this] { return interrupted_.load(); });
    });
  }
  void start_and_welcome() {
    listen();
    start();
    peer_ = await(FrameType::Hello).peer;
    send({.type = FrameType::Welcome, .payload = kWelcome});
  }

  void restart_and_welcome(const std::string& welcome) {
    interrupted_ = false;
    start();
    peer_ = await(FrameType::Hello).peer;
    send({.type = FrameType::Welcome, .payload = welcome});
  }

  // The next frame of a type; heartbeats are answered, the last of each other type is kept.
  transport::RouterSocket::Received await(FrameType type) {
    const SteadyClock clock;
    const Millis deadline = clock.now_ms() + kSoon;
    while (true) {
      auto received = router_->receive(deadline - clock.now_ms());
      require(received.has_value(), "no frame of type ", static_cast<int>(type), " came");
      if (received->frame.type == FrameType::Heartbeat) {
        router_->send(received->peer, {.type = FrameType::Ack, .sequence = 0});
      }
      if (received->frame.type == type) return *received;
    }
  }
  // Waits for a heartbeat that counts at least so many tokens.
  void await_tokens(uint64_t tokens) {
    while (ByteReader(await(FrameType::Heartbeat).frame.payload, "heartbeat").u64() < tokens) continue;
  }
  buffers::RolloutGroup await_group() {
    const auto frame = await(FrameType::Group).frame;
    auto group = buffers::decode_group(frame.payload);
    EXPECT_EQ(group.sequence, frame.sequence);
    return group;
  }
  // The credit of the next Ready that gives this much.
  void await_credit(uint32_t credit) {
    while (ByteReader(await(FrameType::Ready).frame.payload, "ready").u32() != credit) continue;
  }
  ActorEnd await_end() {
    // Answers heartbeats meanwhile, also the last one of an actor that has just ended.
    while (end_.wait_for(std::chrono::milliseconds(0)) != std::future_status::ready) {
      const auto received = router_->receive(10);
      if (received && received->frame.type == FrameType::Heartbeat) {
        router_->send(received->peer, {.type = FrameType::Ack});
      }
    }
    return end_.get();
  }
  std::string await_error() {
    try {
      await_end();
    } catch (const Error& error) {
      return error.what();
    }
    return "it ended without an error";
  }

  void send(Frame frame) { EXPECT_TRUE(router_->send(peer_, std::move(frame))); }
  void announce(int64_t version, const model::Network& network) {
    const auto weights =
        model::Network::snapshot(network.config(), at::kCPU, model::Rounding::None, network.merged_flat());
    const auto announcement = store_.publish(
        version,
        {.layout = weights.layout, .bytes = static_cast<uint64_t>(weights.bytes), .write = weights.write});
    send({.type = FrameType::Weights, .payload = transport::encode_announcement(announcement)});
  }
  buffers::Lease lease(uint64_t group, int64_t version, bool exact = true) {
    buffers::Lease lease{.group = group,
                         .attempt = 0,
                         .step = 3,
                         .version = version,
                         .exact_version = exact,
                         .num_samples = 4,
                         .seed = 5,
                         .sampling = {.max_new_tokens = 10},
                         .lease_ms = 60'000};
    lease.row.prompt = "abc";
    lease.row.file = "train.jsonl";
    lease.row.line = 8;
    return lease;
  }
  void give(const buffers::Lease& lease) { send({.type = FrameType::Lease, .payload = encode_lease(lease)}); }
  void ack(const buffers::RolloutGroup& group) { send({.type = FrameType::Ack, .sequence = group.sequence}); }

  // What these weights make of a lease.
  std::vector<buffers::Completion> expected(const model::Network& network, const buffers::Lease& lease) {
    Engine engine(network, {kEos}, options_.engine);
    engine.submit({.prompt = tokenizer_->encode(lease.row.prompt),
                   .num_samples = lease.num_samples,
                   .seed = lease.seed,
                   .group = lease.group,
                   .sampling = lease.sampling});
    while (true) {
      for (auto& result : engine.step(lease.version)) return std::move(result.completions);
    }
  }
  void expect_made_by(const model::Network& network, const buffers::Lease& lease,
                      const buffers::RolloutGroup& group) {
    const auto wanted = expected(network, lease);
    ASSERT_EQ(group.completions.size(), wanted.size());
    for (size_t s = 0; s < wanted.size(); ++s) {
      EXPECT_EQ(group.completions[s].tokens, wanted[s].tokens);
      EXPECT_EQ(group.completions[s].logprobs, wanted[s].logprobs);
    }
  }

  const TempFolder folder_;
  std::unique_ptr<text::Tokenizer> tokenizer_ = letters();
  rewards::RewardMix rewards_ = character_count();
  const std::unique_ptr<model::Network> first_ = decided_network(7), second_ = decided_network(8);
  RolloutActorOptions options_;
  std::optional<transport::RouterSocket> router_;
  transport::WeightStore store_;
  std::string peer_;
  std::atomic<bool> interrupted_ = false;
  std::future<ActorEnd> end_;
};

TEST_F(RolloutActor, SaysWhatCameOfItsToolsAndMarksWhatTheySaid) {
  tokenizer_ = std::make_unique<CallTokenizer>();
  options_.identity.tokenizer_hash = tokenizer_->hash();
  const auto tools = echo_box();
  options_.tools = &tools;
  options_.tool_use.form = kBetweenNs;
  start_and_welcome();
  announce(0, *first_);
  auto asked = lease(12, 0);
  asked.sampling.max_new_tokens = 40;
  give(asked);

  const auto group = await_group();

  ASSERT_TRUE(group.tools.has_value());
  EXPECT_GT(group.tools->calls, 0);
  EXPECT_GE(group.tools->seconds, 0);
  int64_t observed = 0;
  for (const auto& completion : group.completions) observed += std::ranges::count(completion.mask, 0);
  EXPECT_GT(observed, 0);
  ack(group);
  send({.type = FrameType::Stop});
  EXPECT_EQ(await_end(), ActorEnd::Stopped);
}

TEST_F(RolloutActor, AnswersALeaseWithAScoredGroup) {
  listen();
  start();
  const auto hello = await(FrameType::Hello);
  const auto identity = transport::decode_identity(hello.frame.payload);
  EXPECT_EQ(identity.name, "actor-0");
  EXPECT_EQ(identity.incarnation, 77);
  peer_ = hello.peer;
  send({.type = FrameType::Welcome, .payload = kWelcome});
  await_credit(3);  // one under way and two ahead
  announce(0, *first_);
  give(lease(12, 0));

  const auto group = await_group();

  EXPECT_EQ(group.group, 12);
  EXPECT_EQ(group.step, 3);
  EXPECT_EQ(group.prompt, tokenizer_->encode("abc"));
  EXPECT_EQ(group.prompt_text, "abc");
  EXPECT_EQ(group.actor, "actor-0");
  EXPECT_EQ(group.incarnation, 77);
  EXPECT_EQ(group.sequence, 1);
  expect_made_by(*first_, lease(12, 0), group);
  for (const auto& completion : group.completions) {
    ASSERT_EQ(completion.outcomes.size(), 1);
    const auto& outcome = completion.outcomes[0];
    if (completion.finish == buffers::FinishReason::Stop) {
      EXPECT_EQ(outcome.score, static_cast<double>(completion.text.size()));
    } else {
      EXPECT_EQ(outcome.unscored_reason, "truncated");
    }
  }
  ack(group);
  send({.type = FrameType::Stop});
  EXPECT_EQ(await_end(), ActorEnd::Stopped);
}

TEST_F(RolloutActor, ScoresAGreedyCompletionWhereTheLeaseWantsOne) {
  start_and_welcome();
  announce(0, *first_);
  auto wanted = lease(3, 0), greedy = lease(3, 0);
  wanted.greedy_baseline = true;
  wanted.num_samples = 1;
  greedy.num_samples = 1;
  greedy.sampling.temperature = 0;
  give(wanted);

  const auto group = await_group();

  ASSERT_EQ(group.completions.size(), 1u);
  ASSERT_EQ(group.greedy.size(), 1u);
  const auto completion = expected(*first_, greedy).front();
  const rewards::RewardRequest request{.row = &wanted.row,
                                       .completion = completion_text(completion, *tokenizer_, {}),
                                       .tokens = completion.tokens,
                                       .truncated = completion.finish == buffers::FinishReason::Length};
  const auto outcome = rewards_.score({&request, 1}).front().front();
  EXPECT_EQ(group.greedy[0].score, outcome.score);
  EXPECT_EQ(group.greedy[0].unscored_reason, outcome.unscored_reason);
}

TEST_F(RolloutActor, GoesOnDecodingWhileAScorerThinks) {
  Gate gate;
  rewards_.add(std::make_unique<Gated>(gate), 1.0);
  start_and_welcome();
  announce(0, *first_);
  uint64_t tokens = 0;
  for (const uint64_t group : {1, 2, 3}) {
    give(lease(group, 0));
    for (const auto& completion : expected(*first_, lease(group, 0))) tokens += completion.tokens.size();
  }
  await_tokens(tokens);  // though not one of the first group has its score

  gate.open();

  for (const uint64_t group : {1, 2, 3}) {
    const auto made = await_group();
    EXPECT_EQ(made.group, group);
    expect_made_by(*first_, lease(group, 0), made);
    for (const auto& completion : made.completions) EXPECT_EQ(completion.outcomes.at(1).score, 1.0);
  }
}

TEST_F(RolloutActor, TakesNothingMoreOnWhenTooManyGroupsWaitForTheirScores) {
  Gate gate;
  rewards_.add(std::make_unique<Gated>(gate), 1.0);
  options_.unscored_groups = 1;
  start_and_welcome();
  announce(0, *first_);
  await_credit(3);
  give(lease(1, 0));
  await_credit(0);
  give(lease(2, 0));
  await(FrameType::Heartbeat);
  EXPECT_THAT(describe_pulse(), HasSubstr("waits for the scores of 1 groups: scores group 1 with gated"));

  gate.open();

  EXPECT_EQ(await_group().group, 1);
  EXPECT_EQ(await_group().group, 2);
}

TEST_F(RolloutActor, StopsAtOnceWhileAScorerHangs) {
  Gate gate;
  rewards_.add(std::make_unique<Gated>(gate), 1.0);
  start_and_welcome();
  announce(0, *first_);
  give(lease(1, 0));
  gate.await_somebody();
  interrupted_ = true;
  EXPECT_EQ(await_end(), ActorEnd::Interrupted);
}

TEST_F(RolloutActor, LeavesToItsSuccessorWhatTheLearnerDoesNotHave) {
  options_.spool = folder_ / "spool.log";
  start_and_welcome();
  announce(0, *first_);
  give(lease(1, 0));
  const auto made = await_group();
  interrupted_ = true;
  EXPECT_EQ(await_end(), ActorEnd::Interrupted);

  options_.identity.incarnation = 78;
  restart_and_welcome(kWelcome);
  const auto again = await_group();  // with nothing announced and nothing leased
  EXPECT_EQ(again.group, 1);
  EXPECT_EQ(again.incarnation, 77);
  expect_made_by(*first_, lease(1, 0), again);
  announce(1, *first_);
  give(lease(1, 1));  // it is there: nothing is sampled again, and it is sent at once
  const auto asked = await_group();
  EXPECT_EQ(asked.group, 1);
  EXPECT_EQ(asked.incarnation, 77);
  give(lease(2, 1));
  const auto next = await_group();
  EXPECT_EQ(next.group, 2);
  EXPECT_EQ(next.incarnation, 78);
  EXPECT_EQ(next.sequence, 2);
  ack(again);
  ack(next);
  await_credit(3);
  interrupted_ = true;
  await_end();

  restart_and_welcome(kWelcome);
  announce(2, *first_);
  give(lease(3, 2));
  EXPECT_EQ(await_group().group, 3);  // both were acknowledged
}

TEST_F(RolloutActor, ForgetsWhatWasSampledInAnotherHistoryOfTheRun) {
  options_.spool = folder_ / "spool.log";
  start_and_welcome();
  announce(0, *first_);
  give(lease(1, 0));
  await_group();
  interrupted_ = true;
  await_end();

  restart_and_welcome(R"({"heartbeat_ms": 1000, "history": 1})");
  announce(1, *second_);
  give(lease(1, 1));
  expect_made_by(*second_, lease(1, 1), await_group());
}

TEST_F(RolloutActor, UsesTheVersionThatTheLeaseNames) {
  start_and_welcome();
  announce(4, *first_);
  announce(5, *second_);
  for (const auto& [group, version] : std::map<uint64_t, int64_t>{{1, 5}, {2, 4}, {3, 5}}) {
    const auto& made_by = version == 4 ? *first_ : *second_;
    give(lease(group, version));
    const auto made = await_group();
    EXPECT_EQ(made.group, group);
    EXPECT_EQ(made.oldest_version(), version);
    expect_made_by(made_by, lease(group, version), made);
    ack(made);
  }
}

TEST_F(RolloutActor, UsesTheNewestVersionWhenTheLeaseNamesTheOldestAllowed) {
  start_and_welcome();
  announce(4, *first_);
  announce(5, *second_);
  give(lease(1, 3, /*exact=*/false));

  const auto group = await_group();

  EXPECT_EQ(group.oldest_version(), 5);
  expect_made_by(*second_, lease(1, 5), group);
}

TEST_F(RolloutActor, WaitsForTheVersionAndGoesOnWithOtherLeasesMeanwhile) {
  start_and_welcome();
  announce(0, *first_);
  give(lease(1, 1));
  give(lease(2, 0));
  const auto second = await_group();
  EXPECT_EQ(second.group, 2);
  announce(1, *second_);
  const auto first = await_group();
  EXPECT_EQ(first.group, 1);
  expect_made_by(*second_, lease(1, 1), first);
}

TEST_F(RolloutActor, KeepsAVersionThatAQueuedLeaseNamesWhenTheLearnerLetsItGo) {
  start_and_welcome();
  announce(0, *first_);
  for (const uint64_t group : {1, 2, 3}) give(lease(group, 0));
  await_group();
  announce(1, *second_);
  store_.retire(1);
  await_group();
  expect_made_by(*first_, lease(3, 0), await_group());
}

TEST_F(RolloutActor, DecodesSeveralGroupsTogetherWhereBitsNeedNotRepeat) {
  options_.engine = {.max_rows = 16, .reproducible = false};
  start_and_welcome();
  announce(0, *first_);
  give(lease(0, 0));  // tells it the size of a group: four fit at once
  std::map<uint64_t, buffers::RolloutGroup> groups;
  await_credit(5);
  for (uint64_t group = 1; group < 6; ++group) give(lease(group, 0));
  // Group 0 may have gone by while the credit was waited for: it is sent again when it is not acknowledged.
  send({.type = FrameType::Hello});
  peer_ = await(FrameType::Hello).peer;
  send({.type = FrameType::Welcome, .payload = kWelcome});
  announce(1, *first_);
  for (uint64_t group = 6; group < 11; ++group) give(lease(group, 1));
  while (!groups.contains(10)) {
    auto group = await_group();
    ack(group);
    groups.emplace(group.group, std::move(group));
  }
  for (uint64_t id = 6; id < 11; ++id) {
    const auto wanted = expected(*first_, lease(id, 1));
    for (size_t s = 0; s < 4; ++s) EXPECT_EQ(groups.at(id).completions[s].tokens, wanted[s].tokens);
  }
}

TEST_F(RolloutActor, GoesOnWithNewerWeightsWhereAGroupMayMixVersions) {
  options_.mix_versions = true;
  options_.engine = {.max_rows = 4, .reproducible = false};
  start_and_welcome();
  announce(0, *first_);
  // Weights that come later and later after the lease, until some come while its group is under way.
  bool mixed = false;
  for (int64_t version = 0; version < 200 && !mixed; ++version) {
    auto asked = lease(static_cast<uint64_t>(version), version, /*exact=*/false);
    asked.sampling.max_new_tokens = 60;
    asked.sampling.logit_bias = {{kEos, -100}};
    give(asked);
    std::this_thread::sleep_for(std::chrono::microseconds(200 * version));
    announce(version + 1, *second_);
    const auto group = await_group();
    ack(group);
    EXPECT_GE(group.oldest_version(), version);
    for (const auto& completion : group.completions) {
      EXPECT_EQ(completion.tokens.size(), 60);
      EXPECT_TRUE(std::ranges::is_sorted(completion.versions));
      mixed = mixed || completion.versions.front() < completion.versions.back();
    }
  }
  EXPECT_TRUE(mixed);
}

TEST_F(RolloutActor, EndsWithTheReasonItWasRefusedFor) {
  listen();
  start();
  peer_ = await(FrameType::Hello).peer;
  send({.type = FrameType::Refuse, .payload = "the tokenizer differs"});

  const auto error = await_error();

  EXPECT_THAT(error, HasSubstr("actor-0"));
  EXPECT_THAT(error, HasSubstr("refused"));
  EXPECT_THAT(error, HasSubstr("the tokenizer differs"));
}

TEST_F(RolloutActor, DoesNotWaitForEverToBeWelcomed) {
  options_.connect_timeout_ms = 200;
  start();
  try {
    end_.get();
    FAIL() << "nobody was there";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("waited for a welcome of the learner at " + options_.address));
  }
}

TEST_F(RolloutActor, EndsWhenTheLearnerVanishes) {
  options_.silence_ms = 300;
  start_and_welcome();
  await_credit(3);
  router_.reset();
  try {
    end_.get();
    FAIL() << "the learner was gone";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("the learner at " + options_.address + " was not heard of for 300 ms"));
  }
}

TEST_F(RolloutActor, ALearnerThatAnswersHeartbeatsIsNotSilent) {
  options_.silence_ms = 400;
  start_and_welcome();
  const SteadyClock clock;
  const Millis begin = clock.now_ms();
  while (clock.now_ms() < begin + 1'000) await(FrameType::Heartbeat);
  send({.type = FrameType::Stop});
  EXPECT_EQ(await_end(), ActorEnd::Stopped);
}

TEST_F(RolloutActor, NamesTheVersionItWaitedForInVain) {
  options_.silence_ms = 300;
  start_and_welcome();
  announce(0, *first_);
  give(lease(6, 2));

  const auto error = await_error();

  EXPECT_THAT(error, HasSubstr("group 6 waited 300 ms for the weights of version 2"));
  EXPECT_THAT(error, HasSubstr("the newest is 0"));
}

TEST_F(RolloutActor, NamesTheRowWhosePromptDoesNotFit) {
  start_and_welcome();
  announce(0, *first_);
  auto too_long = lease(6, 0);
  too_long.row.prompt = std::string(60, 'a');
  give(too_long);
  EXPECT_THAT(await_error(), HasSubstr("train.jsonl:8: engine: the prompt of group 6 has 60 tokens"));
}

TEST_F(RolloutActor, StopsWhenItIsInterrupted) {
  start_and_welcome();
  await_credit(3);
  interrupted_ = true;
  EXPECT_EQ(await_end(), ActorEnd::Interrupted);
}

TEST_F(RolloutActor, StopsBetweenTwoTokensWhenItIsInterrupted) {
  options_.engine.max_rows = 1;
  start_and_welcome();
  announce(0, *first_);
  auto endless = lease(1, 0);
  endless.num_samples = 1024;  // one after the other
  endless.sampling.max_new_tokens = 50;
  give(endless);
  while (true) {  // until it is at work
    const auto received = await(FrameType::Heartbeat);
    ByteReader heartbeat(received.frame.payload, "heartbeat");
    const uint64_t tokens = heartbeat.u64();
    EXPECT_LE(heartbeat.u32(), 1);
    if (tokens > 0) break;
  }
  interrupted_ = true;
  EXPECT_EQ(await_end(), ActorEnd::Interrupted);
}

TEST_F(RolloutActor, SendsAGroupAgainToALearnerThatDoesNotKnowIt) {
  start_and_welcome();
  announce(0, *first_);
  give(lease(1, 0));
  const auto group = await_group();  // and no Ack
  send({.type = FrameType::Hello});
  peer_ = await(FrameType::Hello).peer;
  send({.type = FrameType::Welcome, .payload = kWelcome});

  const auto again = await_group();

  EXPECT_EQ(buffers::encode_group(again), buffers::encode_group(group));
  ack(again);
  // What it held is void: a lease of the learner as it is now is what counts.
  announce(1, *second_);
  give(lease(2, 1));
  expect_made_by(*second_, lease(2, 1), await_group());
}

TEST_F(RolloutActor, CountsTheLeasesItHoldsInItsHeartbeats) {
  const auto held = [this] {
    const auto received = await(FrameType::Heartbeat);
    ByteReader heartbeat(received.frame.payload, "heartbeat");
    heartbeat.u64();
    return heartbeat.u32();
  };
  start_and_welcome();
  give(lease(1, 0));
  give(lease(2, 0));
  while (held() != 2) continue;
  await_credit(1);
  announce(0, *first_);
  const auto first = await_group(), second = await_group();
  EXPECT_EQ(held(), 2);  // no Ack yet
  ack(first);
  while (held() != 1) continue;
  ack(second);
  while (held() != 0) continue;
}

TEST_F(RolloutActor, MakesAGroupOnceWhenItsLeaseIsGivenAgain) {
  start_and_welcome();
  give(lease(1, 0));
  auto again = lease(1, 0);
  again.attempt = 1;
  give(again);
  give(lease(2, 0));
  announce(0, *first_);
  const auto first = await_group(), second = await_group();
  EXPECT_EQ(first.group, 1);
  EXPECT_EQ(first.attempt, 1);
  EXPECT_EQ(second.group, 2);
}

}  // namespace
}  // namespace sluice::actors
