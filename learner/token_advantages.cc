#include "learner/token_advantages.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "learner/internal/statistics.h"

namespace sluice::learner {
namespace {

std::vector<std::pair<size_t, size_t>> scored(const GroupRewards& rewards) {
  std::vector<std::pair<size_t, size_t>> indices;
  for (size_t g = 0; g < rewards.size(); ++g) {
    for (size_t i = 0; i < rewards[g].size(); ++i) {
      if (rewards[g][i]) indices.emplace_back(g, i);
    }
  }
  return indices;
}

TokenNumbers zeros_like(TokenNumbers numbers) {
  for (auto& group : numbers) {
    for (auto& tokens : group) std::ranges::fill(tokens, 0.0);
  }
  return numbers;
}

// Over the tokens of all completions that have a reward.
void whiten_and_clip(const GroupRewards& rewards, const AdvantageOptions& options, TokenNumbers& advantages) {
  const auto indices = scored(rewards);
  if (options.whitening == Whitening::Tokens) {
    GroupNumbers together;
    for (const auto& [g, i] : indices) together.push_back(std::move(advantages[g][i]));
    whiten(together);
    for (size_t k = 0; k < indices.size(); ++k) {
      advantages[indices[k].first][indices[k].second] = std::move(together[k]);
    }
  }
  if (options.clip == 0.0) return;
  for (const auto& [g, i] : indices) {
    for (double& value : advantages[g][i]) value = std::clamp(value, -options.clip, options.clip);
  }
}

}  // namespace

std::vector<double> token_rewards(const std::vector<double>& kl, double reward, double beta) {
  std::vector<double> rewards;
  for (const double value : kl) rewards.push_back(-beta * value);
  if (!rewards.empty()) rewards.back() += reward;
  return rewards;
}

std::vector<double> returns_to_go(const std::vector<double>& rewards, double gamma) {
  auto returns = rewards;
  for (size_t t = returns.size(); t-- > 1;) returns[t - 1] += gamma * returns[t];
  return returns;
}

TokenNumbers token_advantages(const GroupRewards& rewards, const TokenNumbers& kl, double beta, double gamma,
                              const AdvantageOptions& options) {
  auto advantages = zeros_like(kl);
  for (const auto& [g, i] : scored(rewards)) {
    advantages[g][i] = returns_to_go(token_rewards(kl[g][i], *rewards[g][i], beta), gamma);
  }
  whiten_and_clip(rewards, options, advantages);
  return advantages;
}

CriticAdvantages critic_advantages(const GroupRewards& rewards, const TokenNumbers& kl,
                                   const TokenNumbers& values, const GroupNumbers& end_values, double beta,
                                   const GaeOptions& gae_options, const AdvantageOptions& options) {
  CriticAdvantages out{.advantages = zeros_like(kl), .returns = zeros_like(kl)};
  for (auto& group : out.returns) {
    for (auto& tokens : group) std::ranges::fill(tokens, std::numeric_limits<double>::quiet_NaN());
  }
  for (const auto& [g, i] : scored(rewards)) {
    auto result =
        gae(token_rewards(kl[g][i], *rewards[g][i], beta), values[g][i], end_values[g][i], gae_options);
    out.advantages[g][i] = std::move(result.advantages);
    out.returns[g][i] = std::move(result.returns);
  }
  whiten_and_clip(rewards, options, out.advantages);
  return out;
}

GaeResult gae(const std::vector<double>& rewards, const std::vector<double>& values, double bootstrap,
              const GaeOptions& options) {
  require(rewards.size() == values.size(), "gae: ", rewards.size(), " rewards, ", values.size(), " values");
  GaeResult result{std::vector<double>(rewards.size()), std::vector<double>(rewards.size())};
  double next_value = bootstrap, next_advantage = 0.0;
  for (size_t t = rewards.size(); t-- > 0;) {
    const double delta = rewards[t] + options.gamma * next_value - values[t];
    next_advantage = delta + options.gamma * options.lambda * next_advantage;
    next_value = values[t];
    result.advantages[t] = next_advantage;
    result.returns[t] = next_advantage + values[t];
  }
  return result;
}

void whiten(GroupNumbers& tokens, bool population) {
  std::vector<double> all;
  for (const auto& row : tokens) all.insert(all.end(), row.begin(), row.end());
  const double mean = internal::mean_of(all), std = internal::std_of(all, population);
  const double var =
      population ? std::max(std * std, internal::kWhitenEps) : std * std + internal::kWhitenEps;
  const double root = all.size() < 2 ? 1.0 : std::sqrt(var);
  for (auto& row : tokens) {
    for (double& value : row) value = (value - mean) / root;
  }
}

}  // namespace sluice::learner
