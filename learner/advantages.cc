#include "learner/advantages.h"

#include <cmath>

#include "base/error.h"
#include "learner/internal/statistics.h"

namespace sluice::learner {
namespace {

using Rewards = std::vector<std::optional<double>>;

std::vector<double> scored(const Rewards& rewards) {
  std::vector<double> values;
  for (const auto& reward : rewards) {
    if (!reward) continue;
    require<DataError>(std::isfinite(*reward), "group_advantages: a reward of ", *reward);
    values.push_back(*reward);
  }
  return values;
}

double batch_std(const std::vector<Rewards>& rewards, bool population) {
  std::vector<double> all;
  for (const auto& group : rewards) {
    const auto values = scored(group);
    all.insert(all.end(), values.begin(), values.end());
  }
  return internal::std_of(all, population);
}

}  // namespace

std::vector<std::vector<double>> group_advantages(const std::vector<Rewards>& rewards,
                                                  const AdvantageOptions& options) {
  require(options.eps >= 0.0, "group_advantages: eps is ", options.eps);
  const bool by_batch = options.scale == AdvantageScale::Batch;
  const double std_of_batch = by_batch ? batch_std(rewards, options.population_std) : 0.0;

  std::vector<std::vector<double>> advantages;
  for (const auto& group : rewards) {
    auto& row = advantages.emplace_back(group.size(), 0.0);
    const auto values = scored(group);
    if (internal::all_equal(values)) continue;  // nothing to prefer: exact zeros, whatever rounding does

    const double mean = internal::mean_of(values);
    const double std = by_batch ? std_of_batch : internal::std_of(values, options.population_std);
    const double divisor = options.scale == AdvantageScale::None ? 1.0 : std + options.eps;
    for (size_t i = 0; i < group.size(); ++i) {
      if (group[i]) row[i] = (*group[i] - mean) / divisor;
    }
  }
  return advantages;
}

}  // namespace sluice::learner
