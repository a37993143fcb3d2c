// What is asked of a group that has arrived before it may be queued.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "buffers/rollout_group.h"

namespace sluice::learner::internal {

// "" when `group` answers `lease`, else what does not fit: the prompt, samples, outcomes (also of the greedy
// completion), sequences of more than `max_tokens` and, with exact versions, the step and the version of
// every token.
std::string misfit(const buffers::RolloutGroup& group, const buffers::Lease& lease, size_t num_rewards,
                   int64_t max_tokens);

// "" when the group can be trained on, else why not: a token's log-prob or kept mass is none, a completion's
// total reward is not finite, "too few scored samples: 1 of 8 (the first reason)", or that its greedy
// completion has no score.
std::string quarantine_reason(const buffers::RolloutGroup& group, const std::vector<double>& reward_weights,
                              int64_t min_scored);

// Whether the total rewards of a group that can be trained on differ (learner/advantages.h).
bool has_spread(const buffers::RolloutGroup& group, const std::vector<double>& reward_weights);

// For a person to read: the prompt, the reason and, where a group has arrived, what was sampled.
void write_quarantine_file(const std::filesystem::path& folder, const buffers::Lease& lease,
                           const std::string& reason, const buffers::RolloutGroup* group);

}  // namespace sluice::learner::internal
