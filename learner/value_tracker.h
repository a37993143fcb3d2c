// What each prompt has earned before: the baseline of SPO (Xu and Ding 2025), for groups of any size, one
// completion included.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "learner/advantages.h"

namespace sluice::learner {

// The mean v of a prompt's rewards. Each time that the prompt comes again, with k rewards, the n earlier ones
// count for less: v <- (memory n v + their sum) / (memory n + k). For rewards of 0 and 1 that is the mean of
// the paper's Beta distribution. Its forgetting, by how far the policy has moved since, is a constant here,
// as the weights that last met the prompt are gone; and a prompt that never came is taken to have earned once
// what all do on average, in place of samples drawn for it beforehand.
//
// Prompts are told apart by their text. A pure function of the batches it was shown, in order.
class ValueTracker {
 public:
  // `memory` in 0 .. 1 (1 not included): 1 / (1 - memory) rewards are what counts in the end.
  explicit ValueTracker(double memory);

  // The baseline of each group before this step, from the steps before. In the first one: the mean of its
  // rewards.
  std::vector<double> baselines(const std::vector<std::string>& prompts, const GroupRewards& rewards) const;
  // Takes in the rewards of a step, group after group; an empty one says nothing.
  void learn(const std::vector<std::string>& prompts, const GroupRewards& rewards);

  int64_t num_prompts() const { return static_cast<int64_t>(values_.size()); }

  Json state() const;
  // Throws DataError naming `where` for what state() never gives.
  void load(const Json& state, std::string_view where);

 private:
  double usual(const GroupRewards& rewards) const;

  struct Value {
    double mean = 0.0, count = 0.0;
  };

  const double memory_;
  std::map<std::string, Value> values_;  // by the hash of the prompt
  double sum_ = 0.0, count_ = 0.0;       // of all rewards
};

}  // namespace sluice::learner
