#include "learner/internal/token_returns.h"

#include <ATen/ATen.h>

#include <cmath>
#include <functional>
#include <utility>

#include "learner/internal/statistics.h"
#include "learner/token_advantages.h"
#include "learner/value_loss.h"

namespace sluice::learner::internal {
namespace {

// What `of_part` gives for the targets, by completion; nothing for those that are in no part.
TokenNumbers by_completion(const TrainingBatch& batch, const std::vector<StepUpdate>& updates,
                           const std::function<at::Tensor(const StepPart&)>& of_part) {
  TokenNumbers numbers;
  for (const auto& group : batch.groups) numbers.emplace_back(group.completions.size());
  for (const auto& update : updates) {
    for (const auto& part : update.parts) {
      const auto wide = of_part(part).to(at::kCPU, at::kDouble).contiguous();
      const double* next = wide.const_data_ptr<double>();
      for (size_t i = 0; i < part.micro.lengths.size(); ++i) {
        const auto [group, completion] = part.micro.completions[i];
        numbers[group][completion].assign(next, next + part.micro.lengths[i]);
        next += part.micro.lengths[i];
      }
    }
  }
  return numbers;
}

// The other way: what belongs to the targets of a part.
at::Tensor of_targets(const TokenNumbers& numbers, const MicroBatch& micro) {
  std::vector<double> all;
  for (const auto& [group, completion] : micro.completions) {
    const auto& tokens = numbers[group][completion];
    all.insert(all.end(), tokens.begin(), tokens.end());
  }
  return at::tensor(all, at::kDouble).to(micro.advantages.options());
}

std::vector<double> flat(const TokenNumbers& numbers) {
  std::vector<double> all;
  for (const auto& group : numbers) {
    for (const auto& tokens : group) all.insert(all.end(), tokens.begin(), tokens.end());
  }
  return all;
}

void report_kl(const TokenNumbers& kl, StepMetrics& metrics) {
  std::vector<double> of_sequences;
  for (const auto& group : kl) {
    for (const auto& tokens : group) {
      if (!tokens.empty()) of_sequences.push_back(mean_of(tokens));
    }
  }
  if (of_sequences.empty()) return;
  metrics["kl"] = mean_of(flat(kl));
  metrics["kl/sequence_mean"] = mean_of(of_sequences);
}

// Of the completions in which some number is not finite: what is to leave the others alone, and to be found
// in their own loss.
void for_each_without_number(const TokenNumbers& kl, const std::function<void(size_t, size_t)>& visit) {
  for (size_t g = 0; g < kl.size(); ++g) {
    for (size_t i = 0; i < kl[g].size(); ++i) {
      if (!std::isfinite(mean_of(kl[g][i]))) visit(g, i);
    }
  }
}

// A completion is one action: its reward less all of its KL, against that of the others.
TokenNumbers penalised(GroupRewards rewards, const TokenNumbers& kl, double beta,
                       const AdvantageOptions& options) {
  GroupNumbers lengths;
  for (size_t g = 0; g < rewards.size(); ++g) {
    auto& row = lengths.emplace_back();
    for (size_t i = 0; i < rewards[g].size(); ++i) {
      row.push_back(static_cast<double>(kl[g][i].size()));
      for (const double value : kl[g][i]) {
        if (rewards[g][i]) *rewards[g][i] -= beta * value;
      }
    }
  }
  const auto of_completions = group_advantages(rewards, options, lengths);
  TokenNumbers advantages;
  for (size_t g = 0; g < kl.size(); ++g) {
    auto& row = advantages.emplace_back();
    for (size_t i = 0; i < kl[g].size(); ++i) row.emplace_back(kl[g][i].size(), of_completions[g][i]);
  }
  return advantages;
}

// What the critic says of the states behind completions: of those that are bootstrapped, else 0.
GroupNumbers values_behind(const TrainingBatch& batch, const std::vector<StepUpdate>& updates) {
  GroupNumbers values;
  for (const auto& group : batch.groups) values.emplace_back(group.completions.size(), 0.0);
  for (const auto& update : updates) {
    for (const auto& part : update.parts) {
      const auto wide = part.end_values.to(at::kCPU, at::kDouble).contiguous();
      const double* next = wide.const_data_ptr<double>();
      for (const auto& [group, completion] : part.micro.completions) {
        if (batch.bootstraps(batch.groups[group].completions[completion]))
          values[group][completion] = *next++;
      }
    }
  }
  return values;
}

// Also what the critic is to learn.
TokenNumbers by_critic(const TrainingBatch& batch, const GroupRewards& rewards, const TokenNumbers& kl,
                       double beta, const PolicyLearnerOptions& options, std::vector<StepUpdate>& updates,
                       StepMetrics& metrics) {
  const auto values = by_completion(batch, updates, [](const StepPart& part) { return part.values; });
  auto of = critic_advantages(rewards, kl, values, values_behind(batch, updates), beta,
                              {.gamma = options.gamma, .lambda = options.lambda}, options.advantage);
  for (auto& update : updates) {
    for (auto& part : update.parts) part.returns = of_targets(of.returns, part.micro);
  }
  // What has no return says nothing of the critic.
  std::vector<double> known_values, known_returns;
  const auto all_values = flat(values), all_returns = flat(of.returns);
  for (size_t i = 0; i < all_returns.size(); ++i) {
    if (std::isnan(all_returns[i])) continue;
    known_values.push_back(all_values[i]);
    known_returns.push_back(all_returns[i]);
  }
  report_spread("values", known_values, metrics);
  report_spread("returns", known_returns, metrics);
  metrics["vf_explained_var"] =
      explained_variance(at::tensor(known_returns, at::kDouble), at::tensor(known_values, at::kDouble));
  return std::move(of.advantages);
}

}  // namespace

bool has_token_returns(const PolicyLearnerOptions& options) {
  return options.kl_in_reward || options.advantage.baseline == Baseline::Critic ||
         (options.advantage.baseline == Baseline::None && options.gamma != 1.0);
}

void put_token_returns(const TrainingBatch& batch, const PolicyLearnerOptions& options, double coefficient,
                       std::vector<StepUpdate>& updates, StepMetrics& metrics) {
  const double beta = options.kl_in_reward ? coefficient : 0.0;
  const auto kl = by_completion(batch, updates, [beta](const StepPart& part) {
    if (beta == 0.0) return at::zeros_like(part.micro.behaviour_logprobs);
    return (part.proximal.defined() ? part.proximal : part.micro.behaviour_logprobs) - part.reference;
  });
  if (beta != 0.0) report_kl(kl, metrics);
  auto rewards = batch.rewards;
  for_each_without_number(kl, [&](size_t g, size_t i) { rewards[g][i].reset(); });

  auto advantages = [&] {
    switch (options.advantage.baseline) {
      case Baseline::Critic:
        return by_critic(batch, rewards, kl, beta, options, updates, metrics);
      case Baseline::Greedy:
        return token_advantages(less_baselines(rewards, batch.baselines), kl, beta, options.gamma,
                                options.advantage);
      case Baseline::None:
        return token_advantages(rewards, kl, beta, options.gamma, options.advantage);
      default:
        return penalised(std::move(rewards), kl, beta, options.advantage);
    }
  }();
  for_each_without_number(kl, [&](size_t g, size_t i) { advantages[g][i] = kl[g][i]; });
  for (auto& update : updates) {
    for (auto& part : update.parts) part.micro.advantages = of_targets(advantages, part.micro);
  }
  report_spread("advantages", flat(advantages), metrics);
}

}  // namespace sluice::learner::internal
