// The checkpoints of a run, on a disk that outlives its processes.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <utility>

#include "tests/trust/sim_task.h"

namespace sluice::trust {

struct SimCheckpoint {
  int64_t step = 0;
  std::map<int64_t, uint64_t> versions;  // those that leases may name, the newest its own
};

// The last two. Each is written whole or not at all, and may be found damaged later.
class SimCheckpoints {
 public:
  SimCheckpoints() : kept_{{.step = 0, .versions = {{0, kFirstWeights}}}} {}

  void write(SimCheckpoint checkpoint) {
    kept_.push_back(std::move(checkpoint));
    if (kept_.size() > 2) kept_.pop_front();
  }
  const SimCheckpoint& newest() const { return kept_.back(); }
  const SimCheckpoint& oldest() const { return kept_.front(); }

  // The newest is of no use any more; false where it is the only one.
  bool damage() {
    if (kept_.size() < 2) return false;
    kept_.pop_back();
    return true;
  }

 private:
  std::deque<SimCheckpoint> kept_;  // rising
};

}  // namespace sluice::trust
