// What the keys of a run should hold, and the commands that make them so: a mirror that is told what happens.
//
// It knows the rollouts stream entry by entry, so the whole picture can be written again at any time. Not for
// use from several threads at once.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "monitor/internal/redis_client.h"
#include "monitor/redis_monitor.h"

namespace sluice::monitor::internal {

inline constexpr int64_t kActorTtlMs = 10'000;
inline constexpr int64_t kActorEveryMs = 2'000;  // however often it is told
inline constexpr size_t kMetricsKept = 1000;     // steps of the metrics stream

// The id of a stream entry, "milliseconds-sequence".
struct StreamId {
  uint64_t ms = 0;
  uint64_t sequence = 0;
  auto operator<=>(const StreamId&) const = default;
};
std::string to_string(const StreamId& id);
// Empty when it is not one.
std::optional<StreamId> parse_stream_id(const std::string& text);

class RunPicture {
 public:
  // At most `max_waiting` commands wait; then the oldest is let go and the whole picture is due.
  RunPicture(const std::string& run, size_t max_waiting, const Clock& clock);

  void state(RunState state);
  void actor(ActorState actor);
  void write(const StepReport& report);
  void event(const std::string& text);
  void queued(std::vector<QueuedRollout> groups);     // a group it knows already changes nothing
  void batched(const std::vector<uint64_t>& groups);  // unknown groups are passed over
  void ended(const std::vector<uint64_t>& groups);

  // The changes since the last call as one transaction. The first reply in it counts the keys that must be
  // there, kProbedKeys when nobody took them away before it.
  std::vector<RedisCommand> take_changes();
  // Everything as one transaction; from now on changes are kept for take_changes(). `last_metric` is the last
  // entry of the metrics stream as the server has it: what came later is written again.
  std::vector<RedisCommand> take_whole(std::optional<StreamId> last_metric);
  // The server is away: nothing is kept for it but the mirror.
  void stop_following();

  bool following() const { return following_; }
  bool whole_due() const { return whole_due_; }
  size_t num_waiting() const { return waiting_.size(); }
  int64_t num_dropped() const { return num_dropped_; }
  std::string key(const std::string& name) const { return prefix_ + name; }

 private:
  struct Rollout {
    QueuedRollout group;
    StreamId id;
    bool in_batch = false;
  };
  struct Actor {
    std::map<std::string, std::string> fields;
    Millis seen_ms = 0;
    std::optional<Millis> shown_ms = {};
  };
  struct Metric {
    StreamId id;
    std::map<std::string, std::string> fields;
  };
  using Rollouts = std::list<Rollout>;

  void add(RedisCommand command);
  StreamId next_id();
  void forget_silent_actors();
  std::vector<RedisCommand> actor_commands(const std::string& name, const Actor& actor,
                                           bool fields_differ = true) const;
  bool next_in_line(const std::vector<Rollouts::iterator>& chosen) const;
  std::vector<RedisCommand> state_commands() const;
  RedisCommand entry(const std::string& name, const StreamId& id,
                     const std::map<std::string, std::string>& fields, bool trimmed) const;
  RedisCommand read_command(size_t count) const;
  RedisCommand count_command(const StreamId& last) const;

  const std::string run_;
  const std::string prefix_;
  const size_t max_waiting_;
  const Clock& clock_;

  std::map<std::string, std::string> state_;
  std::map<std::string, Actor> actors_;
  Millis looked_for_silent_ms_ = 0;
  std::deque<Metric> metrics_;  // at most kMetricsKept
  Rollouts in_batch_;           // in the order of the stream: these come first
  Rollouts queued_;
  std::unordered_map<uint64_t, Rollouts::iterator> by_group_;
  size_t num_added_ = 0;          // to the stream, since it was written as a whole
  std::optional<StreamId> hole_;  // the last entry that was removed from it unread and is not read past

  std::deque<RedisCommand> waiting_;  // at most max_waiting_
  StreamId last_id_;
  bool following_ = false;
  bool shown_ = false;  // the whole picture has been asked for before
  bool whole_due_ = false;
  int64_t num_dropped_ = 0;
};

inline constexpr int64_t kProbedKeys = 2;  // state and rollouts

}  // namespace sluice::monitor::internal
