#include "buffers/rollout_buffer.h"

#include <set>
#include <utility>

#include "base/error.h"

namespace sluice::buffers {

RolloutBuffer::RolloutBuffer(int64_t capacity) : capacity_(capacity) {
  require(capacity > 0, "RolloutBuffer: capacity is ", capacity);
}

void RolloutBuffer::put(RolloutGroup group) {
  const uint64_t id = group.group;
  require(room() > 0, "RolloutBuffer: group ", id, " comes to a full buffer of ", capacity_);
  const int64_t num_tokens = group.num_tokens();
  require(groups_.try_emplace(id, std::move(group)).second, "RolloutBuffer: group ", id, " is there already");
  num_tokens_ += num_tokens;
}

std::vector<RolloutGroup> RolloutBuffer::take(const std::vector<uint64_t>& ids) {
  std::set<uint64_t> seen;
  for (const uint64_t id : ids) {
    require(groups_.contains(id), "RolloutBuffer: group ", id, " is to be taken, but is not there");
    require(seen.insert(id).second, "RolloutBuffer: group ", id, " is to be taken twice");
  }
  std::vector<RolloutGroup> taken;
  taken.reserve(ids.size());
  for (const uint64_t id : ids) {
    taken.push_back(std::move(groups_.extract(id).mapped()));
    num_tokens_ -= taken.back().num_tokens();
  }
  return taken;
}

std::vector<RolloutGroup> RolloutBuffer::copy(const std::vector<uint64_t>& ids) const {
  std::vector<RolloutGroup> copies;
  copies.reserve(ids.size());
  for (const uint64_t id : ids) {
    const auto found = groups_.find(id);
    require(found != groups_.end(), "RolloutBuffer: group ", id, " is to be copied, but is not there");
    copies.push_back(found->second);
  }
  return copies;
}

void RolloutBuffer::erase(uint64_t id) {
  const auto found = groups_.find(id);
  if (found == groups_.end()) return;
  num_tokens_ -= found->second.num_tokens();
  groups_.erase(found);
}

}  // namespace sluice::buffers
