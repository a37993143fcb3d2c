// What is asked of a group that has arrived before it may be queued.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "buffers/rollout_group.h"

namespace sluice::learner::internal {

// "" when `group` answers `lease`, else what does not fit: samples, outcomes and, with exact versions, the
// step and the version of every token.
std::string misfit(const buffers::RolloutGroup& group, const buffers::Lease& lease, size_t num_rewards);

// "" when enough completions have a score, else "too few scored samples: 1 of 8 (the first reason)".
std::string too_few_scored(const buffers::RolloutGroup& group, const std::vector<double>& reward_weights,
                           int64_t min_scored);

// For a person to read: the prompt, the reason and, where a group has arrived, what was sampled.
void write_quarantine_file(const std::filesystem::path& folder, const buffers::Lease& lease,
                           const std::string& reason, const buffers::RolloutGroup* group);

}  // namespace sluice::learner::internal
