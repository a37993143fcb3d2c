#include "learner/internal/group_queue.h"

#include <algorithm>
#include <utility>

namespace sluice::learner::internal {

GroupQueue::GroupQueue(const buffers::LedgerOptions& options, int64_t extra)
    : by_ordinal_(options.exact_versions),
      buffer_((options.staleness + 2) * options.prompts_per_step + extra) {}

void GroupQueue::arrive(buffers::RolloutGroup group, Millis now) {
  const uint64_t id = group.group;
  arrived_at_[id] = now;
  if (!by_ordinal_) arrivals_.push_back(id);
  waiting_.emplace(id, std::move(group));
}

std::vector<uint64_t> GroupQueue::take_settled(const buffers::Ledger& ledger) {
  if (!by_ordinal_) return std::exchange(arrivals_, {});
  std::vector<uint64_t> settled;
  for (;; ++next_) {
    const uint64_t id = ledger.current(next_);
    if (waiting_.contains(id)) {
      settled.push_back(id);
    } else if (!ledger.fate(id)) {
      return settled;  // it is still to come
    }
  }
}

void GroupQueue::settle(const buffers::Ledger& ledger, const Observer& queued) {
  const auto settled = take_settled(ledger);
  if (settled.empty()) return;
  if (queued) {
    std::vector<const buffers::RolloutGroup*> groups;
    for (const uint64_t id : settled) groups.push_back(&waiting_.at(id));
    queued(groups);
  }
  for (const uint64_t id : settled) buffer_.put(std::move(waiting_.extract(id).mapped()));
}

std::vector<buffers::RolloutGroup> GroupQueue::take(const std::vector<uint64_t>& ids) {
  auto groups = buffer_.take(ids);
  for (const uint64_t id : ids) arrived_at_.erase(id);
  return groups;
}

void GroupQueue::drop(uint64_t id) {
  buffer_.erase(id);
  arrived_at_.erase(id);
}

Millis GroupQueue::oldest_age(Millis now) const {
  Millis oldest = now;
  for (const auto& [id, arrival] : arrived_at_) oldest = std::min(oldest, arrival);
  return now - oldest;
}

}  // namespace sluice::learner::internal
