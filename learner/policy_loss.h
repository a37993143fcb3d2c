// The clipped policy-gradient loss of GRPO with its KL term (PPO 2017, GRPO 2024; spec sections 3, 6.1, 6.3).
//
// `tokens` counts the completion tokens of a micro-batch that the policy chose, end to end: nothing is
// padded.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::learner {

// Estimators of KL(policy || reference) from the sampled token (spec section 3.1).
enum class KlEstimator { K1, K2, K3, LowVar, Abs };
// [tokens], carries the estimator's gradient in logprobs.
at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& ref_logprobs, KlEstimator estimator);

// How token losses become one number (spec section 7.1).
enum class Aggregation { TokenMean, SeqMeanTokenMean, SeqMeanTokenSum, SeqMeanTokenSumNorm };

// What the whole optimizer step contains, on all ranks: fixed before it is cut into micro-batches.
struct StepDenominators {
  int64_t tokens = 0;      // chosen tokens
  int64_t sequences = 0;   // all sequences, also those without a chosen token
  int64_t max_length = 1;  // SeqMeanTokenSumNorm divides by it
};

// The factor of each token's loss, such that the sum over the step's tokens is the aggregate.
// `lengths` are the chosen tokens of each sequence of the micro-batch, in order; returns [sum of lengths]
// float64 on the CPU.
at::Tensor aggregation_weights(Aggregation mode, const std::vector<int64_t>& lengths,
                               const StepDenominators& step);

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
  double beta = 0.0;
  KlEstimator kl = KlEstimator::LowVar;
};

// For the metrics of spec section 16: sums over the tokens, unless said otherwise.
struct PolicyLossSums {
  double policy_loss = 0;                          // this micro-batch's share of the loss without the KL term
  double clipped_low = 0, clipped_high = 0;        // tokens where the clip holds
  double kl = 0;                                   // of the configured estimator
  double ppo_kl = 0, approx_kl = 0;                // k1 and k3 of old against new
  double ratio = 0, ratio_max = 0, ratio_min = 0;  // sum and extremes; 0 without a token
};

struct PolicyLoss {
  at::Tensor loss;        // scalar: this micro-batch's share of the step's loss
  at::Tensor token_loss;  // [tokens] detached
  PolicyLossSums sums;
};

// Throws Error when the shapes disagree. No token at all gives a zero connected to the graph.
PolicyLoss policy_loss(const PolicyLossInputs& in, const PolicyLossOptions& options = {});

}  // namespace sluice::learner
