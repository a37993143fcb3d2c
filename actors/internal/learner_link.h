// The actor's end of its connection to the learner: Hello until it is welcome, heartbeats, credit, and every
// group, once it is safe here, again and again until the learner has it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "actors/internal/group_keeper.h"
#include "actors/rollout_actor.h"
#include "base/clock.h"
#include "buffers/rollout_group.h"
#include "transport/sockets.h"

namespace sluice::actors {

// What the learner is told of the work.
struct ActorLoad {
  int64_t credit = 0;   // leases it can take on now
  int64_t leases = 0;   // received, their groups not yet sent
  uint64_t tokens = 0;  // generated so far
};

// Used by one thread, the one that does the work: when it is stuck, the heartbeats stop.
class LearnerLink {
 public:
  // Goes on with what an earlier process left with the keeper, which may be null: then nothing outlives this
  // one.
  LearnerLink(const RolloutActorOptions& options, std::unique_ptr<transport::Dealer> dealer,
              std::unique_ptr<GroupKeeper> keeper, const Clock& clock);

  // Sends what is due, then waits up to `wait_ms` for a frame that concerns the work: Welcome (each time it
  // is a new beginning), Lease, Weights or Stop. Throws Error when the learner refuses, does not welcome in
  // time, or is not heard of for too long.
  std::optional<transport::Frame> next(const ActorLoad& load, Millis wait_ms);

  // Names the actor and the sequence in it, and keeps it until it is acknowledged.
  void send_group(buffers::RolloutGroup group);
  bool has_unacknowledged(uint64_t group) const;
  // Weights that a lease names were announced and did not arrive: the learner is asked for all that it has.
  void miss_weights();
  // The learner asks for it: it is sent again at once.
  void send_again(uint64_t group);
  // Of the run, as the learner counts it: what was begun in another one is of weights that never were.
  int64_t history() const { return history_; }
  // Whether it can keep no more groups for now.
  bool full() const { return keeper_ != nullptr && keeper_->full(); }

 private:
  struct Unacknowledged {
    uint64_t group = 0;
    std::string bytes;
    std::optional<Millis> sent_at = {};  // last
  };

  void take_over(buffers::Spool::Left left);
  void read_welcome(const std::string& welcome);
  void begin_history(int64_t history);
  void acknowledged(uint64_t sequence);
  bool concerns_work(const transport::Frame& frame);
  void send_due(const ActorLoad& load);
  void send_groups();
  bool is_safe(uint64_t sequence) const { return keeper_ == nullptr || sequence <= safe_; }
  void send_load(const ActorLoad& load, bool with_heartbeat);
  void watch_silence(bool heard);
  bool try_send(transport::FrameType type, std::string payload, uint64_t sequence = 0);

  const RolloutActorOptions options_;
  const Clock& clock_;
  const std::unique_ptr<transport::Dealer> dealer_;
  Millis heartbeat_ms_;
  bool welcome_ = false;
  bool was_welcome_ = false;
  Millis hello_due_ = 0;  // while it is not welcome, or misses weights
  Millis heartbeat_due_ = 0;
  Millis last_look_ = 0;
  Millis silent_ms_ = 0;        // while this thread was listening
  Millis reconnect_ms_ = 0;     // of silence, then the connection is made anew
  int64_t learner_credit_ = 0;  // what the learner believes
  const std::unique_ptr<GroupKeeper> keeper_;
  int64_t history_ = 0;  // of the run, which the groups below are of
  uint64_t safe_ = 0;    // all up to this sequence are
  uint64_t last_sequence_ = 0;
  std::map<uint64_t, Unacknowledged> unacknowledged_;  // by sequence
};

}  // namespace sluice::actors
