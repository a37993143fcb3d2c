// The groups that have arrived and wait for their batch, by ordinal, bounded.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "buffers/rollout_group.h"

namespace sluice::buffers {

class RolloutBuffer {
 public:
  explicit RolloutBuffer(int64_t capacity);

  // Room for further groups; the learner grants no more credit than this.
  int64_t room() const { return capacity_ - size(); }
  int64_t size() const { return static_cast<int64_t>(groups_.size()); }
  int64_t num_tokens() const { return num_tokens_; }  // chosen ones

  // A full buffer or a group that is there already is an Error: credits and the ledger prevent both.
  void put(RolloutGroup group);
  // Removes and returns them in the given order; one that is not there is an Error and nothing is removed.
  std::vector<RolloutGroup> take(const std::vector<uint64_t>& ids);
  std::vector<RolloutGroup> copy(const std::vector<uint64_t>& ids) const;  // without removing them
  void erase(uint64_t id);                                                 // nothing when it is not there

 private:
  const int64_t capacity_;
  int64_t num_tokens_ = 0;
  std::map<uint64_t, RolloutGroup> groups_;
};

}  // namespace sluice::buffers
