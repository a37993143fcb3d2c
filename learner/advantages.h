// From rewards to advantages (spec sections 4.1, 5.2 to 5.7): plain numbers, over the whole batch at once.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace sluice::learner {

// What a completion's reward is measured against.
enum class Baseline {
  GroupMean,       // GRPO 2024
  LeaveOneOut,     // the mean of the others of its group (RLOO 2024)
  LengthWeighted,  // the group's mean weighted by chosen tokens (OPO 2025)
  Greedy,          // the reward of a greedy completion of the same prompt (ReMax 2023)
  Critic,          // of each token, what a critic says of the state before it (PPO 2017)
  History,         // what its prompt earned before (SPO 2025): a ValueTracker's, for baseline_advantages()
  None,            // REINFORCE 1992
};

// Those of the group itself, which a single completion says nothing of.
inline bool is_of_group(Baseline baseline) {
  return baseline == Baseline::GroupMean || baseline == Baseline::LeaveOneOut ||
         baseline == Baseline::LengthWeighted;
}

// What divides the difference.
enum class AdvantageScale { Group, Batch, None };

// What is done to all advantages of the batch together.
enum class Whitening {
  None,
  Completions,  // (A - mean) / (std + 1e-4) over completions
  Tokens,       // (A - mean) / sqrt(var + 1e-8) over their chosen tokens: long ones count more
};

struct AdvantageOptions {
  Baseline baseline = Baseline::GroupMean;
  AdvantageScale scale = AdvantageScale::Group;  // of GroupMean
  bool population_std = false;                   // divide by n instead of n - 1
  double eps = 1e-4;                             // added to the standard deviation of `scale`
  Whitening whitening = Whitening::None;
  // Each scorer's scores are standardised in their group before they are added up (GDPO 2026), and the sum
  // over the batch.
  bool each_reward = false;
  double clip = 0.0;  // c > 0: an advantage lies in -c .. c
  // For make_training_batch(): a completion that the length limit cut counts in its group's mean and spread,
  // and none of its tokens is learned from (spec section 4.3).
  bool mask_truncated = false;
  // For critic_advantages(): such a completion would have gone on to earn what the critic expects behind its
  // last token (spec section 5.1).
  bool bootstrap_truncated = false;
};

// Of each completion of each group: [group][completion]. An empty reward is an unscorable completion.
using GroupRewards = std::vector<std::vector<std::optional<double>>>;
using GroupNumbers = std::vector<std::vector<double>>;

// One advantage for each completion; what is unscorable counts in no mean and gets 0. Groups of equal
// rewards, and groups of one, get exact zeros from a baseline of the group, before any whitening. `lengths`,
// the chosen tokens of each, are needed by LengthWeighted and Tokens. Greedy, Critic and None give the
// reward, from which baseline_advantages() and critic_advantages() go on.
GroupNumbers group_advantages(const GroupRewards& rewards, const AdvantageOptions& options = {},
                              const GroupNumbers& lengths = {});

// Against a number that each group brings: the reward of a greedy completion (ReMax 2023), or what its prompt
// earned before (SPO 2025).
GroupRewards less_baselines(const GroupRewards& rewards, const std::vector<double>& baselines);
GroupNumbers baseline_advantages(const GroupRewards& rewards, const std::vector<double>& baselines,
                                 const AdvantageOptions& options = {}, const GroupNumbers& lengths = {});

// Whether some rewards of a group differ, so that there is something to prefer (DAPO's dynamic sampling; spec
// section 4.4). A group of one completion has nothing to be compared with: it counts as one that has.
bool has_spread(const std::vector<std::optional<double>>& rewards);

// Of several scorers, [scorer][group][completion]: each standardised in its group, added up by weight, and
// the sum standardised over the batch (GDPO; spec section 5.7). A score that is missing adds nothing.
GroupNumbers each_reward_advantages(const std::vector<GroupRewards>& scores,
                                    const std::vector<double>& weights, const AdvantageOptions& options = {});

}  // namespace sluice::learner
