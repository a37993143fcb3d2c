// A pure scorer that is asked once for the same: its recipe says `pure = true`.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "rewards/reward.h"

namespace sluice::rewards::internal {

// Remembers scores by everything that a scorer sees of a completion (its row, its text, its tokens, whether
// it was cut), or of a whole group for one that takes whole groups. What was unscored is asked for again.
// When the bound is reached the oldest goes.
class CachedReward final : public RewardFunction {
 public:
  explicit CachedReward(std::unique_ptr<RewardFunction> inner, size_t max_bytes = 64u << 20);

  const std::string& name() const override { return inner_->name(); }
  std::vector<RewardOutcome> score(std::span<const RewardRequest> group) override;
  std::vector<RewardOutcome> score_each(std::span<const RewardRequest> samples) override;
  bool takes_whole_groups() const override { return inner_->takes_whole_groups(); }
  int64_t num_cached() const override { return num_cached_; }
  void interrupt() override { inner_->interrupt(); }

 private:
  using Outcomes = std::vector<RewardOutcome>;

  Outcomes score_group(std::span<const RewardRequest> group);
  Outcomes score_samples(std::span<const RewardRequest> samples, bool each);
  void keep(const std::string& key, Outcomes outcomes);

  const std::unique_ptr<RewardFunction> inner_;
  const size_t max_bytes_;
  std::unordered_map<std::string, Outcomes> known_;
  std::deque<std::string> order_;  // keys of `known_`, the oldest first
  size_t bytes_ = 0;
  int64_t num_cached_ = 0;
};

}  // namespace sluice::rewards::internal
