// Several scorers as one: each keeps its outcome, the mix knows their weights.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rewards/reward.h"

namespace sluice::rewards {

class RewardMix {
 public:
  RewardMix() = default;  // of nothing yet
  // Throws UsageError when there is no entry or two share a name.
  RewardMix(const std::vector<RewardSpec>& specs, const RewardResources& resources);

  // Adds a scorer that is none of the built-in ones; its name must be new.
  void add(std::unique_ptr<RewardFunction> function, double weight, const std::string& where = "rewards");

  const std::vector<std::string>& names() const { return names_; }
  const std::vector<double>& weights() const { return weights_; }

  // One row of outcomes (in the order of names()) for each completion of the group. Never throws for what a
  // scorer does: an exception, a wrong count or a number that is not finite becomes an unscored outcome. With
  // `seconds`, also how long each scorer took.
  std::vector<std::vector<RewardOutcome>> score(std::span<const RewardRequest> group,
                                                std::vector<double>* seconds = nullptr) const;

  // Of scorer k alone, with the same promise: a group as a whole, or completions that have ended, for scorers
  // that do not want whole groups.
  bool takes_whole_groups(size_t k) const { return functions_[k]->takes_whole_groups(); }
  std::vector<RewardOutcome> score_group(size_t k, std::span<const RewardRequest> group) const;
  std::vector<RewardOutcome> score_each(size_t k, std::span<const RewardRequest> samples) const;

  int64_t num_cached(size_t k) const { return functions_[k]->num_cached(); }

  // From another thread than the one that scores: it is to come to an end, and nothing is scored from now on.
  void interrupt() const;

 private:
  std::vector<std::unique_ptr<RewardFunction>> functions_;
  std::vector<std::string> names_;
  std::vector<double> weights_;
};

// Weighted sum over the outcomes that have a score; empty when none has one. Throws DataError when the sum is
// not finite.
std::optional<double> total_reward(std::span<const RewardOutcome> outcomes, std::span<const double> weights);

}  // namespace sluice::rewards
