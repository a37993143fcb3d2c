// Groups between their arrival and their batch: they enter the buffer, and are shown, in batching order.
//
// With exact versions batches go by ordinal, so a group waits here until every lower one has arrived or
// ended; else the order of arrival is the order of batching.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "base/clock.h"
#include "buffers/ledger.h"
#include "buffers/rollout_buffer.h"
#include "buffers/rollout_group.h"

namespace sluice::learner::internal {

class GroupQueue {
 public:
  using Observer = std::function<void(const std::vector<const buffers::RolloutGroup*>& groups)>;

  // `extra` is room for what a resumed run brings: it may hold the groups of many rewound steps.
  GroupQueue(const buffers::LedgerOptions& options, int64_t extra);

  void arrive(buffers::RolloutGroup group, Millis now);
  // Moves those whose turn has come into the buffer, and tells of them.
  void settle(const buffers::Ledger& ledger, const Observer& queued);

  std::vector<buffers::RolloutGroup> take(const std::vector<uint64_t>& ids);
  std::vector<buffers::RolloutGroup> copy(const std::vector<uint64_t>& ids) const {
    return buffer_.copy(ids);
  }
  void drop(uint64_t id);

  int64_t room() const { return buffer_.room() - static_cast<int64_t>(waiting_.size()); }
  int64_t depth() const { return buffer_.size() + static_cast<int64_t>(waiting_.size()); }
  Millis oldest_age(Millis now) const;

 private:
  std::vector<uint64_t> take_settled(const buffers::Ledger& ledger);

  const bool by_ordinal_;
  buffers::RolloutBuffer buffer_;
  std::map<uint64_t, buffers::RolloutGroup> waiting_;
  std::vector<uint64_t> arrivals_;  // of waiting_, in order
  uint64_t next_ = 0;               // the slot the buffer takes next, when it goes by ordinal
  std::map<uint64_t, Millis> arrived_at_;
};

}  // namespace sluice::learner::internal
