// The operators the network stands on, each with its own backward: kernels replace what is behind them.
//
// Rows come packed (see packed_batch.h). All of them are differentiable in their floating-point tensors
// unless a comment says otherwise, and deterministic for a given shape and thread count.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

namespace sluice::model {

// Weights [out, in] of one input that lie one after another in memory, so that one product serves them all.
struct FusedWeight {
  at::Tensor all;                 // [sum of out, in], without gradient
  std::vector<at::Tensor> parts;  // [out, in] each, views of the same memory; these get the gradients
};

// x [rows, in] times weight [out, in] transposed: [rows, out].
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight);
at::Tensor linear(const at::Tensor& x, const FusedWeight& weight);

// Rows of `table` [vocab, hidden] by `tokens` [rows] int64: [rows, hidden].
at::Tensor embedding(const at::Tensor& table, const at::Tensor& tokens);

// x / sqrt(mean(x^2) + eps) * weight, statistics in float32 at least: [rows, width].
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// silu of the first half of the columns times the second half, [rows, 2 * width] -> [rows, width].
at::Tensor swiglu(const at::Tensor& gate_up);

// Rotates the half-split pairs of the first `heads` heads of x [rows, all heads, head_dim] by position (spec
// section 15.3) and leaves the others. cos, sin [max_position, head_dim / 2] float32; positions [rows] int64.
at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                const at::Tensor& positions, int64_t heads);

// x [rows, heads + 2 * kv_heads, head_dim] as queries, keys and values: views, nothing is copied.
std::tuple<at::Tensor, at::Tensor, at::Tensor> split_heads(const at::Tensor& x, int64_t heads,
                                                           int64_t kv_heads);

struct AttentionOptions {
  double scale = 1.0;
  std::optional<int64_t> window;   // a query sees this many keys, itself included
  std::optional<double> soft_cap;  // scores become cap * tanh(scores / cap)
};

// Which keys each query sees; made once for a batch and used by every layer
// (model/internal/attention_plan.h).
class AttentionPlan;

// q [rows, heads, head_dim]; k, v [keys, kv_heads, head_dim] -> [rows, heads, head_dim]. Grouped heads:
// query head h reads key head h / (heads / kv_heads). A query sees keys whose place is not after its own.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::shared_ptr<const AttentionPlan>& plan, const AttentionOptions& options);

// Log-prob of each target under softmax(hidden head^T / temperature) and the entropy of that distribution.
// Chunked over rows; logits never leave. Entropy carries no gradient. Log-sum-exp is log_sum_exp() below.
struct TokenLogprobs {
  at::Tensor logprobs;  // [rows] float32
  at::Tensor entropy;   // [rows] float32
};
TokenLogprobs token_logprobs(const at::Tensor& hidden,   // [rows, hidden]
                             const at::Tensor& head,     // [vocab, hidden]
                             const at::Tensor& targets,  // [rows] int64
                             double temperature);

// Row-wise log of the sum of exponentials, the row maximum subtracted first: [rows, vocab] -> [rows] float32.
// The sampler's and the loss's.
at::Tensor log_sum_exp(const at::Tensor& scaled_logits);

// Logits of the given hidden rows in float32, for the sampler alone: [rows, vocab], divided by temperature.
at::Tensor scaled_logits(const at::Tensor& hidden, const at::Tensor& head, double temperature);

}  // namespace sluice::model
