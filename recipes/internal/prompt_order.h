// Which prompt each group of a policy stage asks: the endless order over all of them, and hard ones again.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "base/epoch_order.h"
#include "base/json.h"
#include "learner/training_batch.h"

namespace sluice::recipes::internal {

struct ReplayOptions {
  int64_t prompts_per_step = 1;
  int64_t staleness = 0;
  double share = 0.0;  // of a step's prompts that may be hard ones; 0: none is asked again
  double below = 0.5;  // a prompt is hard whose group has a lower mean reward, and somewhere one above 0
};

// Slots go through an endless order of the prompts. A slot's refills (buffers/group_id.h) stand further on in
// it, where this stage's slots do not get to: the r-th of slot s at r times the stage's slots + s.
//
// The hard prompts of step t are asked again in step t + 1 + staleness: the first whose groups need a version
// that has learned from t. So what a group asks depends on steps that were trained before anybody could be
// given it, however fast the actors are. They take the first places of that step, the hardest first; the
// prompts of the endless order that would have had those places wait for the next epoch.
//
// Safe from any thread.
class PromptOrder {
 public:
  PromptOrder(EpochOrder order, int64_t num_slots, const ReplayOptions& options = {});

  // The number of the prompt that a group of the step asks.
  int64_t row(uint64_t group, int64_t step);
  // Once for each step, before the version that it makes is published. Returns how many of its groups asked a
  // prompt again.
  int64_t trained(const learner::TrainingBatch& batch, int64_t step);
  // What a run that goes on with `step` has to know: which rows coming steps ask again.
  Json state(int64_t step) const;
  void load(const Json& state, std::string_view where);

 private:
  int64_t at(uint64_t group);
  std::optional<int64_t> replayed(uint64_t group, int64_t step) const;

  const EpochOrder order_;  // at its beginning
  const int64_t num_slots_;
  const ReplayOptions options_;
  mutable std::mutex mutex_;
  // Guarded by mutex_. An order walks on, so that no lease waits for a shuffle.
  std::map<int64_t, EpochOrder> by_refill_;
  std::map<int64_t, std::vector<int64_t>> replays_;  // step -> rows that it asks again
};

}  // namespace sluice::recipes::internal
