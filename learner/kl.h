// How far the policy is from its reference, from sampled tokens or whole distributions (spec section 3).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sluice::learner {

// Estimators of KL(policy || reference) from the sampled token (spec section 3.1). K1Plus and K3Plus have the
// values of K1 and LowVar and the gradient of K2; K3Is is K3 times the policy's ratio with its gradient.
enum class KlEstimator { K1, K2, K3, LowVar, Abs, K1Plus, K3Plus, K3Is };
// [tokens], carries the estimator's gradient in logprobs. K3Is needs `ratio` [tokens], of logprobs to those
// of the policy that sampled.
at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& ref_logprobs, KlEstimator estimator,
                       const at::Tensor& ratio = {});

// KL of the distributions themselves: logits [rows, vocab] -> [rows], with gradient in both.
at::Tensor exact_kl(const at::Tensor& logits, const at::Tensor& ref_logits);

// A coefficient that follows a target KL (Ziegler et al. 2019; spec section 3.3).
struct KlController {
  double coefficient = 0.001;
  double target = 0.1;
  double horizon = 10'000;  // sequences

  // After a step of `num_sequences` whose mean KL of a sequence was `kl`.
  void update(double kl, int64_t num_sequences);
};

}  // namespace sluice::learner
