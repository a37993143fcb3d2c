#include "learner/advantages.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/error.h"
#include "learner/internal/statistics.h"

namespace sluice::learner {
namespace {

using Rewards = std::vector<std::optional<double>>;

constexpr double kCompletionEps = 1e-4;  // added to a standard deviation

std::vector<double> scored(const Rewards& rewards) {
  std::vector<double> values;
  for (const auto& reward : rewards) {
    if (!reward) continue;
    require<DataError>(std::isfinite(*reward), "group_advantages: a reward of ", *reward);
    values.push_back(*reward);
  }
  return values;
}

std::vector<double> scored(const GroupRewards& rewards) {
  std::vector<double> all;
  for (const auto& group : rewards) {
    const auto values = scored(group);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

double length_weighted_mean(const Rewards& rewards, const std::vector<double>& lengths) {
  double sum = 0.0, total = 0.0;
  for (size_t i = 0; i < rewards.size(); ++i) {
    if (!rewards[i]) continue;
    sum += lengths[i] * *rewards[i];
    total += lengths[i];
  }
  return total > 0.0 ? sum / total : 0.0;
}

// Replaces the advantages of scored completions by f of them.
void change(const GroupRewards& rewards, GroupNumbers& advantages, const std::function<double(double)>& f) {
  for (size_t g = 0; g < rewards.size(); ++g) {
    for (size_t i = 0; i < rewards[g].size(); ++i) {
      if (rewards[g][i]) advantages[g][i] = f(advantages[g][i]);
    }
  }
}

void whiten_completions(const GroupRewards& rewards, GroupNumbers& advantages) {
  std::vector<double> all;
  change(rewards, advantages, [&all](double value) { return all.emplace_back(value); });
  const double mean = internal::mean_of(all), std = internal::std_of(all);
  change(rewards, advantages, [&](double value) { return (value - mean) / (std + kCompletionEps); });
}

void whiten_tokens(const GroupRewards& rewards, const GroupNumbers& lengths, GroupNumbers& advantages) {
  double count = 0.0, sum = 0.0, squares = 0.0;
  const auto for_each = [&](auto f) {
    for (size_t g = 0; g < rewards.size(); ++g) {
      for (size_t i = 0; i < rewards[g].size(); ++i) {
        if (rewards[g][i]) f(advantages[g][i], lengths[g][i]);
      }
    }
  };
  for_each([&](double value, double length) { count += length, sum += length * value; });
  const double mean = count > 0.0 ? sum / count : 0.0;
  for_each([&](double value, double length) { squares += length * (value - mean) * (value - mean); });
  const double root = count < 2.0 ? 1.0 : std::sqrt(squares / (count - 1.0) + internal::kWhitenEps);
  change(rewards, advantages, [&](double value) { return (value - mean) / root; });
}

void check_lengths(const GroupRewards& rewards, const GroupNumbers& lengths) {
  const bool same = rewards.size() == lengths.size() &&
                    std::ranges::equal(rewards, lengths, [](const auto& group, const auto& numbers) {
                      return group.size() == numbers.size();
                    });
  require(same, "group_advantages: there are lengths of ", lengths.size(), " groups, rewards of ",
          rewards.size(), ", or a group's differ in number");
}

// Of one group of rewards that are not all equal, or of any where there is no baseline.
std::vector<double> centred(const Rewards& group, const std::vector<double>& values, Baseline baseline,
                            const std::vector<double>* lengths) {
  const double mean = internal::mean_of(values), count = static_cast<double>(values.size());
  std::vector<double> row(group.size(), 0.0);
  for (size_t i = 0; i < group.size(); ++i) {
    if (!group[i]) continue;
    const double reward = *group[i];
    switch (baseline) {
      case Baseline::GroupMean:
        row[i] = reward - mean;
        break;
      case Baseline::LeaveOneOut:
        row[i] = (reward - mean) * count / (count - 1.0);
        break;
      case Baseline::LengthWeighted:
        row[i] = reward - length_weighted_mean(group, *lengths);
        break;
      case Baseline::Greedy:
      case Baseline::Critic:
      case Baseline::None:
        row[i] = reward;
        break;
      case Baseline::History:
        fail("group_advantages: what a prompt earned before is no matter of its group");
    }
  }
  return row;
}

}  // namespace

GroupNumbers group_advantages(const GroupRewards& rewards, const AdvantageOptions& options,
                              const GroupNumbers& lengths) {
  require(options.eps >= 0.0 && options.clip >= 0.0, "group_advantages: eps is ", options.eps, ", clip is ",
          options.clip);
  const bool by_batch = options.scale == AdvantageScale::Batch;
  const bool scales = options.baseline == Baseline::GroupMean && options.scale != AdvantageScale::None;
  const bool needs_lengths =
      options.baseline == Baseline::LengthWeighted || options.whitening == Whitening::Tokens;
  if (needs_lengths) check_lengths(rewards, lengths);
  const double std_of_batch = by_batch ? internal::std_of(scored(rewards), options.population_std) : 0.0;

  GroupNumbers advantages;
  for (size_t g = 0; g < rewards.size(); ++g) {
    const auto& group = rewards[g];
    auto& row = advantages.emplace_back(group.size(), 0.0);
    const auto values = scored(group);
    // Nothing to prefer: exact zeros, whatever rounding does.
    if (is_of_group(options.baseline) && internal::all_equal(values)) continue;
    row = centred(group, values, options.baseline, needs_lengths ? &lengths[g] : nullptr);
    if (!scales) continue;
    const double std = by_batch ? std_of_batch : internal::std_of(values, options.population_std);
    for (double& value : row) value /= std + options.eps;
  }
  if (options.whitening == Whitening::Completions) whiten_completions(rewards, advantages);
  if (options.whitening == Whitening::Tokens) whiten_tokens(rewards, lengths, advantages);
  if (options.clip > 0.0) {
    change(rewards, advantages, [&](double value) { return std::clamp(value, -options.clip, options.clip); });
  }
  return advantages;
}

GroupRewards less_baselines(const GroupRewards& rewards, const std::vector<double>& baselines) {
  require(rewards.size() == baselines.size(), "less_baselines: ", rewards.size(), " groups, ",
          baselines.size(), " baselines");
  auto centred = rewards;
  for (size_t g = 0; g < centred.size(); ++g) {
    for (auto& reward : centred[g]) {
      if (reward) *reward -= baselines[g];
    }
  }
  return centred;
}

GroupNumbers baseline_advantages(const GroupRewards& rewards, const std::vector<double>& baselines,
                                 const AdvantageOptions& options, const GroupNumbers& lengths) {
  auto plain = options;
  plain.baseline = Baseline::None;
  return group_advantages(less_baselines(rewards, baselines), plain, lengths);
}

bool has_spread(const std::vector<std::optional<double>>& rewards) {
  return rewards.size() == 1 || !internal::all_equal(scored(rewards));
}

GroupNumbers each_reward_advantages(const std::vector<GroupRewards>& scores,
                                    const std::vector<double>& weights, const AdvantageOptions& options) {
  require(!scores.empty() && scores.size() == weights.size(), "each_reward_advantages: ", scores.size(),
          " scorers, ", weights.size(), " weights");
  GroupRewards sums;
  for (size_t k = 0; k < scores.size(); ++k) {
    const auto standard =
        group_advantages(scores[k], {.population_std = options.population_std, .eps = options.eps});
    if (sums.empty()) {
      for (const auto& group : standard) sums.emplace_back(group.size());
    }
    require(standard.size() == sums.size(), "each_reward_advantages: scorers of ", sums.size(), " and ",
            standard.size(), " groups");
    for (size_t g = 0; g < standard.size(); ++g) {
      require(standard[g].size() == sums[g].size(), "each_reward_advantages: a group of ", sums[g].size(),
              " completions and ", standard[g].size());
      for (size_t i = 0; i < standard[g].size(); ++i) {
        if (scores[k][g][i]) sums[g][i] = sums[g][i].value_or(0.0) + weights[k] * standard[g][i];
      }
    }
  }
  return group_advantages(
      sums, {.baseline = Baseline::None, .whitening = Whitening::Completions, .clip = options.clip});
}

}  // namespace sluice::learner
