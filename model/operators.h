// The operators the network stands on, each with its own backward: kernels replace what is behind them.
//
// Rows come packed (see packed_batch.h). All of them are differentiable in their tensor arguments unless a
// comment says otherwise, and deterministic for a given shape and thread count.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace sluice::model {

// x [rows, in] times weight [out, in] transposed: [rows, out].
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight);

// x / sqrt(mean(x^2) + eps) * weight, statistics in float32: [rows, width].
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// silu(gate) * up, both [rows, width].
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

// Rotates the half-split pairs of x [rows, heads, head_dim] by position (spec section 15.3).
// cos, sin [max_position, head_dim / 2] float32; positions [rows] int64.
at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, const at::Tensor& positions);

struct AttentionOptions {
  double scale = 1.0;
  std::optional<int64_t> window;    // a query sees this many keys, itself included
  std::optional<double> soft_cap;   // scores become cap * tanh(scores / cap)
};

// Which keys each query sees, computed once for a batch and used by every layer. Queries are the batch's
// rows; keys are rows of `keys` below: the batch's own rows in training, rows of the cache when decoding.
struct AttentionPlan {
  at::Tensor query_index;  // [sequences, max_queries] int64 into queries, 0 where padded
  at::Tensor key_index;    // [sequences, max_keys] int64 into keys, 0 where padded
  at::Tensor query_place;  // [sequences, max_queries] int64 place of the query in its sequence, -1 where padded
  at::Tensor key_place;    // [sequences, max_keys] int64 place of the key, a huge number where padded
  at::Tensor row_of_query; // [rows] int64: where each row stands in query_index flattened
};

// q [rows, heads, head_dim]; k, v [keys, kv_heads, head_dim] -> [rows, heads, head_dim]. Grouped heads:
// query head h reads key head h / (heads / kv_heads). A query sees keys whose place is not after its own.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionPlan& plan,
                     const AttentionOptions& options);

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
