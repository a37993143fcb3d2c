// Scores beside decoding: a thread asks the scorers for each completion as soon as it has ended, and those
// that take whole groups for a group once all of it is there.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/pulse.h"
#include "buffers/rollout_group.h"
#include "rewards/canaries.h"
#include "rewards/reward_mix.h"

namespace sluice::actors {

// What scorers see of one.
struct EndedCompletion {
  std::vector<int32_t> tokens;
  std::string text;
  bool truncated = false;
};
EndedCompletion ended(const buffers::Completion& completion);

struct GroupScores {
  uint64_t group = 0;
  std::vector<std::vector<rewards::RewardOutcome>> outcomes;  // [completions][scorers]
  std::vector<buffers::ScorerWatch> scorers;
};

// Asked by one thread. What a group's outcomes are depends neither on when its completions end nor on how
// long scorers take, as far as each scorer's word for a completion, or for a whole group, does not.
class ScoringLane {
 public:
  // The mix is this lane's alone as long as it is there. Destruction interrupts the mix for good where
  // something is not scored yet. Where fewer than `min_scored` samples of a group have any score, those
  // without are scored once more, unless time ran out.
  ScoringLane(const rewards::RewardMix& rewards, rewards::Canaries canaries, int64_t min_scored = 0);
  ~ScoringLane();

  // Completions of it will come: so many samples, and behind them a greedy one, which is no part of the group
  // that scorers see together.
  void begin(uint64_t group, text::Row row, int64_t num_samples, bool greedy_too);
  void add(uint64_t group, int64_t sample, EndedCompletion completion);

  // The groups scored since the last time, after up to `wait_ms` without one.
  std::vector<GroupScores> take(Millis wait_ms);
  // For a caller that waits for nothing else: what the thread does is what the caller does, and its signs of
  // life are the caller's. One that hangs is seen by that.
  void say_what_is_waited_for();
  // What the thread does.
  Pulse pulse() const { return pulse_.now(); }

 private:
  struct Job {
    text::Row row;
    size_t num_samples = 0;
    std::vector<EndedCompletion> completions;  // each written once, before it is named in `ended`
    std::vector<size_t> ended;                 // and not asked for yet; guarded by mutex_
    size_t num_asked = 0;                      // with what follows, thread_'s alone
    GroupScores scores;
  };

  void run(const std::stop_token& stop);
  Job* next_job();
  rewards::RewardRequest request_of(const Job& job, size_t i) const;
  void score(Job& job, std::span<const size_t> completions, bool as_group);
  void finish(Job& job);
  void try_again(Job& job, std::span<const size_t> samples);
  void say(const Job& job, size_t scorer) const;

  const rewards::RewardMix& rewards_;
  rewards::Canaries canaries_;  // used by thread_ alone
  const int64_t min_scored_;
  SidePulse pulse_;
  size_t num_under_way_ = 0;       // groups that were not taken; with what follows, the caller's alone
  std::optional<uint64_t> beats_;  // of the thread, that were passed on
  std::mutex mutex_;
  std::condition_variable_any wake_;
  // Guarded by mutex_.
  std::deque<std::unique_ptr<Job>> jobs_;  // in the order they began
  std::vector<GroupScores> scored_;
  std::exception_ptr failure_;
  std::jthread thread_;  // last, so that it stops before anything it uses is destroyed
};

}  // namespace sluice::actors
