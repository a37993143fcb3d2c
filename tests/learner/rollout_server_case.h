// A rollout server with actors that do what a test says.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/byte_codec.h"
#include "base/error.h"
#include "learner/rollout_server.h"
#include "tests/base/temp_folder.h"
#include "transport/sockets.h"

namespace sluice::learner {

using buffers::Lease;
using buffers::RolloutGroup;
using transport::Frame;
using transport::FrameType;

inline constexpr Millis kSoon = 10'000;  // a deadline no passing test reaches

inline transport::Identity identity(const std::string& name, uint64_t incarnation = 1) {
  return {.run = "run-1",
          .tokenizer_hash = "t1",
          .model_hash = "m1",
          .role = "actor",
          .name = name,
          .incarnation = incarnation,
          .pid = 7};
}

template <class Condition>
bool soon(Condition condition) {
  const SteadyClock clock;
  const Millis deadline = clock.now_ms() + kSoon;
  while (!condition()) {
    if (clock.now_ms() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

inline RolloutGroup answer(const Lease& lease, int64_t num_scored = 2) {
  RolloutGroup group{.group = lease.group, .attempt = lease.attempt, .step = lease.step, .prompt = {1, 2}};
  group.prompt_text = lease.row.prompt;
  for (int64_t i = 0; i < lease.num_samples; ++i) {
    buffers::Completion completion;
    completion.tokens = {3, static_cast<int32_t>(lease.group)};
    completion.mask = {1, 1};
    completion.logprobs = {-0.5f, -0.25f};
    completion.kept_mass = {1, 1};
    completion.versions = {lease.version, lease.version};
    completion.text = "answer";
    completion.outcomes = {i < num_scored ? rewards::RewardOutcome::scored(1.0)
                                          : rewards::RewardOutcome::unscored("timeout")};
    group.completions.push_back(completion);
  }
  return group;
}

// An actor that does what the test says, frame by frame.
class Actor {
 public:
  explicit Actor(const std::string& address, transport::Identity who = identity("actor-0"))
      : who_(std::move(who)), socket_(address, transport::run_hash("run-1")) {}

  void hello() { send(FrameType::Hello, transport::encode_identity(who_)); }
  void ready(uint32_t credit) {
    ByteWriter out;
    out.u32(credit);
    send(FrameType::Ready, out.take());
  }
  void heartbeat(uint64_t tokens, uint32_t holds) {
    ByteWriter out;
    out.u64(tokens);
    out.u32(holds);
    send(FrameType::Heartbeat, out.take());
  }
  void group(const RolloutGroup& group, uint64_t sequence) {
    send(FrameType::Group, buffers::encode_group(group), sequence);
  }
  void send(FrameType type, std::string payload, uint64_t sequence = 0) {
    EXPECT_TRUE(socket_.send({.type = type, .sequence = sequence, .payload = std::move(payload)}, kSoon));
  }

  // The next frame of that type; others are skipped, announcements and leases are kept.
  std::optional<Frame> next(FrameType type, Millis timeout_ms = kSoon) {
    const SteadyClock clock;
    const Millis deadline = clock.now_ms() + timeout_ms;
    while (auto frame = socket_.receive(std::max<Millis>(0, deadline - clock.now_ms()))) {
      if (frame->type == FrameType::Weights) {
        const auto announcement = transport::decode_announcement(frame->payload);
        weights[announcement.version] = announcement;
      }
      if (frame->type == type) return frame;
    }
    return std::nullopt;
  }
  Lease lease() {
    const auto frame = next(FrameType::Lease);
    EXPECT_TRUE(frame) << "no lease came";
    return frame ? buffers::decode_lease(frame->payload) : Lease{};
  }
  void join(uint32_t credit) {
    hello();
    EXPECT_TRUE(next(FrameType::Welcome));
    ready(credit);
  }

  std::map<int64_t, transport::WeightAnnouncement> weights;

 private:
  const transport::Identity who_;
  transport::DealerSocket socket_;
};

// An actor in a thread of its own that answers whatever it is asked until it is told to stop.
class WorkingActor {
 public:
  WorkingActor(const std::string& address, const std::string& name)
      : thread_([=, this](std::stop_token stop) { run(stop, address, name); }) {}

  std::atomic<bool> stopped = false;  // was told to

 private:
  void run(std::stop_token stop, const std::string& address, const std::string& name) {
    transport::DealerSocket socket(address, transport::run_hash("run-1"));
    uint64_t sequence = 0;
    const auto ready = [&](uint32_t credit) {
      ByteWriter out;
      out.u32(credit);
      socket.send({.type = FrameType::Ready, .payload = out.take()}, 100);
    };
    socket.send({.type = FrameType::Hello, .payload = transport::encode_identity(identity(name))}, kSoon);
    while (!stop.stop_requested() && !stopped) {
      const auto frame = socket.receive(20);
      if (!frame) {
        ByteWriter out;
        out.u64(0);
        out.u32(2);
        socket.send({.type = FrameType::Heartbeat, .payload = out.take()}, 100);
        continue;
      }
      if (frame->type == FrameType::Welcome) ready(2);
      if (frame->type == FrameType::Stop) stopped = true;
      if (frame->type != FrameType::Lease) continue;
      const auto group = answer(buffers::decode_lease(frame->payload));
      socket.send({.type = FrameType::Group, .sequence = ++sequence, .payload = buffers::encode_group(group)},
                  100);
      ready(2);
    }
  }
  std::jthread thread_;
};

class RolloutServerTest : public testing::Test {
 protected:
  RolloutServerTest() {
    options_.address = "ipc://" + (folder_ / "socket").string();
    options_.journal = folder_ / "journal";
    options_.quarantine = folder_ / "quarantine";
    options_.identity = identity("learner");
    options_.ledger = {.prompts_per_step = 2, .total_steps = 4, .staleness = 1};
    options_.reward_weights = {1.0};
  }

  std::unique_ptr<RolloutServer> start(int64_t from_step = 0) {
    const auto make_lease = [this](const buffers::Ledger::Grant& grant) {
      if (fail_leases_) fail("the rows are gone");
      Lease lease;
      lease.num_samples = 2;
      lease.seed = grant.group;
      lease.sampling.max_new_tokens = 2;
      lease.row.prompt = "prompt " + std::to_string(grant.group);
      lease.row.file = "rows.jsonl";
      lease.row.line = static_cast<int64_t>(grant.group) + 1;
      return lease;
    };
    RolloutEvents events;
    events.queued = [this](const std::vector<const RolloutGroup*>& groups) {
      const std::lock_guard lock(mutex_);
      for (const auto* group : groups) queued_.push_back(group->group);
    };
    events.ended = [this](const std::vector<uint64_t>& groups) {
      const std::lock_guard lock(mutex_);
      ended_.insert(ended_.end(), groups.begin(), groups.end());
    };
    events.notice = [this](const std::string& text) {
      const std::lock_guard lock(mutex_);
      notices_.push_back(text);
    };
    events.heard = [this](const std::vector<RolloutStatus::Actor>& actors) {
      const std::lock_guard lock(mutex_);
      heard_.clear();
      for (const auto& actor : actors) heard_[actor.name] = actor.tokens;
    };
    return std::make_unique<RolloutServer>(options_, make_lease, events, from_step);
  }

  std::vector<uint64_t> queued() {
    const std::lock_guard lock(mutex_);
    return queued_;
  }
  std::vector<uint64_t> ended() {
    const std::lock_guard lock(mutex_);
    return ended_;
  }
  bool noticed(const std::string& text) {
    const std::lock_guard lock(mutex_);
    return std::any_of(notices_.begin(), notices_.end(),
                       [&](const auto& notice) { return notice.find(text) != std::string::npos; });
  }

  std::map<std::string, uint64_t> heard() {
    const std::lock_guard lock(mutex_);
    return heard_;
  }

  static std::vector<uint64_t> ids(const std::optional<std::vector<RolloutGroup>>& batch) {
    std::vector<uint64_t> out;
    if (batch) {
      for (const auto& group : *batch) out.push_back(group.group);
    }
    return out;
  }

  const TempFolder folder_;
  RolloutServerOptions options_;
  std::atomic<bool> fail_leases_ = false;
  std::mutex mutex_;
  std::vector<uint64_t> queued_, ended_;   // guarded by mutex_
  std::map<std::string, uint64_t> heard_;  // likewise: the actors of the last call with their tokens
  std::vector<std::string> notices_;       // guarded by mutex_
};

using Ids = std::vector<uint64_t>;

}  // namespace sluice::learner
