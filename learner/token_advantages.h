// Advantages of the tokens of a completion (spec sections 3.2, 5.1 and 5.5): plain numbers, over the whole
// batch at once.
#pragma once

#include <vector>

#include "learner/advantages.h"

namespace sluice::learner {

// Of each chosen token of each completion: [group][completion][token].
using TokenNumbers = std::vector<GroupNumbers>;

// Of the chosen tokens of one completion: -beta times the KL of each, and the reward on the last (spec 3.2).
std::vector<double> token_rewards(const std::vector<double>& kl, double reward, double beta);
// The discounted sum of what follows, itself included.
std::vector<double> returns_to_go(const std::vector<double>& rewards, double gamma);

// Without a baseline: the returns of every chosen token, whitened or not (REINFORCE++ 2025; spec
// section 5.5). Of unscorable completions: 0.
TokenNumbers token_advantages(const GroupRewards& rewards, const TokenNumbers& kl, double beta, double gamma,
                              const AdvantageOptions& options);

// Generalised advantage estimation (Schulman et al. 2016; spec section 5.1) over the chosen tokens of one
// completion: `values` before each of them, `bootstrap` behind the last.
struct GaeOptions {
  double gamma = 1.0, lambda = 0.95;
};
struct GaeResult {
  std::vector<double> advantages, returns;  // [tokens]
};
GaeResult gae(const std::vector<double>& rewards, const std::vector<double>& values, double bootstrap,
              const GaeOptions& options = {});

// With a critic (PPO 2017): GAE of every chosen token, whitened or not, and the returns that the critic
// learns, those before whitening. `values` are of the states before the tokens, `end_values` of those behind
// the completions: 0 but where one is bootstrapped. Of unscorable completions: advantages of 0, and returns
// that are NaN.
struct CriticAdvantages {
  TokenNumbers advantages, returns;
};
CriticAdvantages critic_advantages(const GroupRewards& rewards, const TokenNumbers& kl,
                                   const TokenNumbers& values, const GroupNumbers& end_values, double beta,
                                   const GaeOptions& gae_options, const AdvantageOptions& options);

// (x - mean) / sqrt(var + 1e-8) over all numbers, in place; fewer than two are only centred. The population's
// variance is 1e-8 at least instead.
void whiten(GroupNumbers& tokens, bool population = false);

}  // namespace sluice::learner
