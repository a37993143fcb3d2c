// Mixture of experts: which experts a token goes to, their weighted sum, and what keeps them balanced.
//
// Spec section 12. Router logits are computed and kept in float32 at least; nothing is dropped.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/operators.h"

namespace sluice::model {

enum class RouterScore { Softmax, Sigmoid };

struct RouterOptions {
  int64_t top_k = 1;
  RouterScore score = RouterScore::Softmax;
  bool normalise = true;   // weights of a token sum to 1 before `scale`
  double scale = 1.0;      // times the weights
  int64_t num_groups = 1;  // experts in so many groups, of which the best `top_groups` take part
  int64_t top_groups = 1;
  int64_t group_score = 2;  // a group's score: the sum of its so many highest (V3: 2; V2: 1, the highest)
};

// The experts of each token, best first (the lower index among equals), and their weights.
struct Routing {
  at::Tensor experts;  // [rows, top_k] int64
  at::Tensor weights;  // [rows, top_k], carries grad to the logits
};
// logits [rows, experts]; `selection_bias` [experts] is added to the scores for the choice alone, undefined
// for none.
Routing route(const at::Tensor& logits, const at::Tensor& selection_bias, const RouterOptions& options);

struct Expert {
  FusedWeight gate_up;  // [2 * width, hidden]
  FusedWeight down;     // [hidden, width]
};
// sum_j weights[:, j] * expert_{experts[:, j]}(x): [rows, hidden]. Rows are gathered expert by expert; one
// that no token chose does nothing and gets no gradient.
at::Tensor mix_experts(const at::Tensor& x, const Routing& routing, const std::vector<Expert>& experts,
                       Activation activation);

// E * sum_e f_e * Pbar_e (Switch 2021, GShard 2020) of softmax routers over all rows; f is constant, the
// gradient flows through Pbar. 1 when balanced. `row_mask` [rows] leaves rows out where 0; undefined for
// none.
at::Tensor balance_loss(const at::Tensor& logits, const at::Tensor& experts, const at::Tensor& row_mask = {});
// Nothing here trains with what follows: it is what the examples of the spec, section 12, pin down.
//
// mean of logsumexp(logits)^2 (ST-MoE 2022).
at::Tensor router_z_loss(const at::Tensor& logits);
// DeepSeek-V3's balance of one sequence, times alpha: selection by unbiased sigmoid scores.
at::Tensor sequence_balance_loss(const at::Tensor& logits, int64_t top_k, double alpha);
// DeepSeek-V3's balance without a loss, once a step: the bias of experts that got fewer tokens than the mean
// rises by `rate`, of those that got more it falls. Both [experts].
at::Tensor balanced_bias(const at::Tensor& bias, const at::Tensor& counts, double rate);

// Noisy top-k gating (Shazeer et al. 2017), all [rows, experts] but the last two, [experts].
struct NoisyGates {
  at::Tensor logits;            // clean + noise * softplus(raw_std)
  at::Tensor gates;             // softmax over the k highest of them, else 0
  at::Tensor importance, load;  // sums of the gates, and of the chance to be among the k highest
};
NoisyGates noisy_top_k(const at::Tensor& clean, const at::Tensor& raw_std, const at::Tensor& noise,
                       int64_t top_k);
// var(v) / mean(v)^2 of the population: 0 when all are equal.
at::Tensor squared_variation(const at::Tensor& values);

}  // namespace sluice::model
