#include "learner/token_advantages.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "learner/internal/statistics.h"

namespace sluice::learner {

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

std::vector<GroupNumbers> token_advantages(const GroupRewards& rewards, const std::vector<GroupNumbers>& kl,
                                           double beta, double gamma, const AdvantageOptions& options) {
  GroupNumbers of_scored;  // the completions with a reward, one after another
  for (size_t g = 0; g < rewards.size(); ++g) {
    for (size_t i = 0; i < rewards[g].size(); ++i) {
      if (rewards[g][i])
        of_scored.push_back(returns_to_go(token_rewards(kl[g][i], *rewards[g][i], beta), gamma));
    }
  }
  if (options.whitening == Whitening::Tokens) whiten(of_scored);
  std::vector<GroupNumbers> advantages;
  size_t next = 0;
  for (size_t g = 0; g < rewards.size(); ++g) {
    auto& group = advantages.emplace_back();
    for (size_t i = 0; i < rewards[g].size(); ++i) {
      group.push_back(rewards[g][i] ? std::move(of_scored[next++])
                                    : std::vector<double>(kl[g][i].size(), 0.0));
      for (double& value : group.back()) {
        if (options.clip > 0.0) value = std::clamp(value, -options.clip, options.clip);
      }
    }
  }
  return advantages;
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
