// Speculative decoding by rejection (Leviathan et al. 2023, Chen et al. 2023; spec section 19).
//
// What the engine does is simpler and changes no token: a draft is kept while it is what the policy draws
// anyway. This is the rule for drafts that were drawn themselves, whose share kept is the highest there can
// be.
#pragma once

#include <span>
#include <vector>

namespace sluice::actors {

// min(1, p / q) of each token: with which probability a draft of it is kept. 0 where q is 0.
std::vector<double> acceptance(std::span<const double> p, std::span<const double> q);

// max(0, p - q), to a sum of 1: what is drawn from in place of a draft that was not kept. p where that is 0.
std::vector<double> residual(std::span<const double> p, std::span<const double> q);

// How many drafts of `tokens` are kept, with a uniform number for each.
size_t num_kept(std::span<const int> tokens, std::span<const double> uniforms,
                std::span<const std::vector<double>> p, std::span<const std::vector<double>> q);

// Tokens that a step of `drafts` gives on average, when each is kept with this probability.
double expected_tokens(double acceptance_rate, int drafts);

}  // namespace sluice::actors
