// The policy losses of spec section 6, one of which a recipe names: what a token's loss is, how far the
// policy may move on it, and the KL to the reference.
//
// `tokens` counts the completion tokens of a micro-batch that the policy chose, end to end: nothing is
// padded.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "learner/kl.h"

namespace sluice::learner {

// With r the ratio of the policy to the old one and A the advantage.
enum class Surrogate {
  Clip,           // -min(r A, clip(r) A) (PPO 2017)
  WeightClip,     // -sg(clip(r)) A log p: every token keeps its gradient (CISPO, MiniMax-M1 2025)
  SoftGate,       // -(4 / tau) sigmoid(tau (r - 1)) A (SAPO 2025)
  Reinforce,      // -A log p (Williams 1992)
  GeometricMean,  // -A exp(mean of log r, bounded on one side) of a sequence (GMPO 2025)
  GammaWeight,    // -sg(W^k exp(lambda (1 - W))) A log p, W the ratio of the sequence (VESPO 2026)
  TrustRegion,    // -r A while the probability moved by little, and a square of log r (DPPO-TV, prime-rl)
};

// What r is the ratio of, where the loss is Clip.
enum class RatioLevel {
  Token,
  Sequence,       // the geometric mean over the sequence (GSPO 2025)
  SequenceToken,  // its value with each token's own gradient: advantages may differ (GSPO-token)
  SequenceSum,    // the whole sequence as one action (RLOO 2024)
};

struct PolicyLossInputs {
  at::Tensor logprobs;      // [tokens] under the weights being trained, carries grad
  at::Tensor old_logprobs;  // [tokens] the policy the ratio is taken against, constant
  at::Tensor ref_logprobs;  // [tokens] undefined when beta is 0
  at::Tensor advantages;    // [tokens]
  at::Tensor weights;       // [tokens] from aggregation_weights()
  std::vector<int64_t> lengths =
      {};                   // tokens of each sequence; may be left out where none is looked at whole
  at::Tensor factors = {};  // [tokens] of the policy term (off_policy.h); undefined: 1
};

struct PolicyLossOptions {
  Surrogate surrogate = Surrogate::Clip;
  RatioLevel ratio = RatioLevel::Token;
  double clip_low = 0.2;      // Clip; TrustRegion: by so much may a probability fall
  double clip_high = 0.2;     // likewise, rise
  double dual_clip = 0.0;     // c > 1: a bad token's loss is at most -c times its advantage; 0: no such bound
  double weight_low = 0.0;    // WeightClip
  double weight_high = 5.0;   // WeightClip
  double tau_positive = 1.0;  // SoftGate
  double tau_negative = 1.05;  // SoftGate
  double log_clip = 0.4;       // GeometricMean
  double trust_kl = 1e-3;      // TrustRegion: of the square of log r
  double beta = 0.0;
  KlEstimator kl = KlEstimator::LowVar;

  // Whether ratio and clip are of whole sequences: then so are their metrics.
  bool by_sequence() const {
    return surrogate == Surrogate::GeometricMean || surrogate == Surrogate::GammaWeight ||
           (surrogate == Surrogate::Clip && ratio != RatioLevel::Token);
  }
};

// For the metrics of spec section 16: sums over the tokens, of clips and ratios over the sequences where
// these are the sequences'.
struct PolicyLossSums {
  double policy_loss = 0;                          // this micro-batch's share of the loss without the KL term
  double clipped_low = 0, clipped_high = 0;        // where the clip, or the region, holds
  double dual_clipped = 0;                         // where the bound of dual_clip holds
  double kl = 0;                                   // of the configured estimator
  double ppo_kl = 0, approx_kl = 0;                // k1 and k3 of old against new
  double ratio = 0, ratio_max = 0, ratio_min = 0;  // sum and extremes; 0 without a token
};

struct PolicyLoss {
  at::Tensor loss;                       // scalar: this micro-batch's share of the step's loss
  at::Tensor token_loss;                 // [tokens] detached
  at::Tensor ratio;                      // [tokens] detached, a sequence's at each of its tokens
  at::Tensor clipped_low, clipped_high;  // [tokens] bool
  at::Tensor kl;                         // [tokens] detached, before beta; undefined when that is 0
  PolicyLossSums sums;
};

// Throws Error when the shapes disagree. No token at all gives a zero connected to the graph.
PolicyLoss policy_loss(const PolicyLossInputs& in, const PolicyLossOptions& options = {});

// The share of `flags` [sum of lengths] bool in each sequence that has a token.
std::vector<double> sequence_shares(const at::Tensor& flags, const std::vector<int64_t>& lengths);

}  // namespace sluice::learner
