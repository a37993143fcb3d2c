// What becomes of tokens that another policy sampled than the one the ratio is taken against (spec section
// 8).
//
// Three policies: the one that sampled (behaviour), the one before the update (proximal), the one being
// trained. All tensors are constant but the last one's log-probs, [tokens] of several sequences end to end.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace sluice::learner {

// What the drift from behaviour to proximal makes of a token's loss, with rho = proximal / behaviour.
enum class Correction {
  None,
  TruncateToken,     // times rho, kept inside the bounds (TIS)
  TruncateSequence,  // times the product of the sequence's rho, likewise
  MaskToken,         // times rho inside the bounds, 0 outside (IcePop; decoupled PPO with a cap)
  MaskSequence,      // times the product of the sequence's rho inside the bounds, 0 outside
};

struct CorrectionOptions {
  Correction kind = Correction::None;
  double low = 0.0, high = 2.0;  // bounds of rho, or of its product
  // Besides, sequences whose geometric mean of rho is outside these count for nothing.
  double mean_low = 0.0, mean_high = std::numeric_limits<double>::infinity();
};

struct CorrectionWeights {
  at::Tensor rho;      // [tokens] proximal / behaviour
  at::Tensor weights;  // [tokens] factors of the policy term; 0 of what is masked
};
CorrectionWeights correction_weights(const at::Tensor& proximal, const at::Tensor& behaviour,
                                     const std::vector<int64_t>& lengths, const CorrectionOptions& options);

// For the metrics rollout_is/* of spec section 16, added up over micro-batches.
struct RatioSums {
  int64_t count = 0;
  double sum = 0, max = 0, min = std::numeric_limits<double>::infinity();
  double bounded = 0, bounded_squares = 0;  // of ratios kept in 1 / threshold .. threshold
  double above = 0, below = 0;              // how many lie outside

  void add(const at::Tensor& rho, double threshold);
  // mean(w)^2 / mean(w^2) of the bounded ones: 1 where all are equal.
  double effective_share() const;
};

// The proximal log-probs as they would lie between behaviour and current, by how many versions ago a token
// was sampled: no forward is needed (AReaL 2025; spec section 8.5). `versions` [tokens] int64, negative where
// unknown.
at::Tensor proximal_between(const at::Tensor& logprobs, const at::Tensor& behaviour,
                            const at::Tensor& versions, int64_t current_version);

// False for the tokens of sequences of negative advantage that the policy has left by more than `max_kl` nats
// a token: [tokens] bool (DeepSeek-V3.2 2025; spec section 8.6). `old` is the behaviour, or the proximal
// policy.
at::Tensor keep_near_sequences(const at::Tensor& logprobs, const at::Tensor& old,
                               const at::Tensor& advantages, const std::vector<int64_t>& lengths,
                               double max_kl);

// False for the fewest tokens without which the mean square of proximal - behaviour is below `threshold`, one
// being kept at least (M2PO 2025; spec section 8.8). Of the whole step at once: [tokens] bool.
at::Tensor keep_small_moments(const at::Tensor& proximal, const at::Tensor& behaviour, double threshold);

// True for the share of tokens with the highest entropy, ties included (Wang et al. 2025; spec section 6.14).
// Of the whole step at once: [tokens] bool.
at::Tensor keep_high_entropy(const at::Tensor& entropy, double share);

}  // namespace sluice::learner
