// From rewards to advantages (GRPO 2024; spec sections 4.1 and 5.2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice::learner {

enum class AdvantageScale { Group, Batch, None };

struct AdvantageOptions {
  AdvantageScale scale = AdvantageScale::Group;
  bool population_std = false;  // divide by n instead of n - 1
  double eps = 1e-4;            // added to the standard deviation
  // For make_training_batch(): a completion that the length limit cut counts in its group's mean and spread,
  // and none of its tokens is learned from (spec section 4.3).
  bool mask_truncated = false;
};

// One advantage for each completion of each group; an empty reward is an unscorable completion, which counts
// in no mean and gets 0. Groups of equal rewards, and groups of one, get exact zeros.
std::vector<std::vector<double>> group_advantages(
    const std::vector<std::vector<std::optional<double>>>& rewards, const AdvantageOptions& options = {});

}  // namespace sluice::learner
