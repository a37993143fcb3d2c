// The clipped policy-gradient loss of GRPO with its KL term (PPO 2017, GRPO 2024; spec sections 3, 6.1
// to 6.3).
//
// `tokens` counts the completion tokens of a micro-batch that the policy chose, end to end: nothing is
// padded.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::learner {

// Estimators of KL(policy || reference) from the sampled token (spec section 3.1). K1Plus and K3Plus have the
// values of K1 and LowVar and the gradient of K2; K3Is is K3 times the policy's ratio with its gradient. The
// exact KL is none of them: it needs both policies' full distributions.
enum class KlEstimator { K1, K2, K3, LowVar, Abs, K1Plus, K3Plus, K3Is };
// [tokens], carries the estimator's gradient in logprobs. K3Is needs `ratio` [tokens], of logprobs to those
// of the policy that sampled.
at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& ref_logprobs, KlEstimator estimator,
                       const at::Tensor& ratio = {});

// How token losses become one number (spec section 7.1).
enum class Aggregation { TokenMean, SeqMeanTokenMean, SeqMeanTokenSum, SeqMeanTokenSumNorm };
// The sequences that a mean over sequences counts: all, or those with a chosen token.
enum class SequenceDenominator { All, NonEmpty };

// What the whole optimizer step contains, on all ranks: fixed before it is cut into micro-batches.
struct StepDenominators {
  int64_t tokens = 0;      // chosen tokens
  int64_t sequences = 0;   // all sequences, also those without a chosen token
  int64_t max_length = 1;  // SeqMeanTokenSumNorm divides by it
  int64_t nonempty = 0;    // sequences with a chosen token
};

// The factor of each token's loss, such that the sum over the step's tokens is the aggregate.
// `lengths` are the chosen tokens of each sequence of the micro-batch, in order; returns [sum of lengths]
// float64 on the CPU.
at::Tensor aggregation_weights(Aggregation mode, const std::vector<int64_t>& lengths,
                               const StepDenominators& step,
                               SequenceDenominator counted = SequenceDenominator::All);

struct PolicyLossInputs {
  at::Tensor logprobs;      // [tokens] under the weights being trained, carries grad
  at::Tensor old_logprobs;  // [tokens] the policy the ratio is taken against, constant
  at::Tensor ref_logprobs;  // [tokens] undefined when beta is 0
  at::Tensor advantages;    // [tokens]
  at::Tensor weights;       // [tokens] from aggregation_weights()
};

struct PolicyLossOptions {
  double clip_low = 0.2;
  double clip_high = 0.2;
  double dual_clip = 0.0;  // c > 1: a bad token's loss is at most -c times its advantage; 0: no such bound
  double beta = 0.0;
  KlEstimator kl = KlEstimator::LowVar;
};

// For the metrics of spec section 16: sums over the tokens, unless said otherwise.
struct PolicyLossSums {
  double policy_loss = 0;                          // this micro-batch's share of the loss without the KL term
  double clipped_low = 0, clipped_high = 0;        // tokens where the clip holds
  double dual_clipped = 0;                         // tokens where the bound of dual_clip holds
  double kl = 0;                                   // of the configured estimator
  double ppo_kl = 0, approx_kl = 0;                // k1 and k3 of old against new
  double ratio = 0, ratio_max = 0, ratio_min = 0;  // sum and extremes; 0 without a token
};

struct PolicyLoss {
  at::Tensor loss;                       // scalar: this micro-batch's share of the step's loss
  at::Tensor token_loss;                 // [tokens] detached
  at::Tensor clipped_low, clipped_high;  // [tokens] bool
  PolicyLossSums sums;
};

// Throws Error when the shapes disagree. No token at all gives a zero connected to the graph.
PolicyLoss policy_loss(const PolicyLossInputs& in, const PolicyLossOptions& options = {});

// The share of `flags` [sum of lengths] bool in each sequence that has a token.
std::vector<double> sequence_shares(const at::Tensor& flags, const std::vector<int64_t>& lengths);

}  // namespace sluice::learner
