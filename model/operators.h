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
#include <utility>
#include <vector>

namespace sluice::model {

// What products make of float32 weights: themselves, numbers of bfloat16 or float16, or of int8 with a scale
// for each row. Both: they round the rows that they multiply as well, and backward the gradients that come
// in. Sums are of float32 in all of them.
enum class Rounding { None, BFloat16, BFloat16Both, Float16Both, Int8 };

// bfloat16 or float16, to which numbers are rounded; none: they stay as they are.
using NarrowType = std::optional<at::ScalarType>;

// What rows of products become, and what weights do; Int8 apart.
inline NarrowType rows_rounded_to(Rounding rounding) {
  if (rounding == Rounding::BFloat16Both) return at::kBFloat16;
  return rounding == Rounding::Float16Both ? NarrowType(at::kHalf) : std::nullopt;
}
inline NarrowType weights_rounded_to(Rounding rounding) {
  return rounding == Rounding::BFloat16 ? NarrowType(at::kBFloat16) : rows_rounded_to(rounding);
}

// A weight [out, in], and a copy of it in the order its kernel reads it where it does not change: without
// that every product makes one. What is computed has the same bits with it and without, unless the copy is
// rounded to int8. Gradients pass a rounding as if there were none.
struct Weight {
  Weight() = default;
  Weight(at::Tensor the_rows, at::Tensor the_packed = {}, Rounding the_rounding = Rounding::None)
      : rows(std::move(the_rows)), packed(std::move(the_packed)), rounding(the_rounding) {}
  at::Tensor rows, packed;
  at::Tensor scales;                   // [out] of int8
  Rounding rounding = Rounding::None;  // in each product

  NarrowType rounds_to() const { return weights_rounded_to(rounding); }
  NarrowType rounds_rows_to() const { return rows_rounded_to(rounding); }
};

// Weights [out, in] of one input that lie one after another in memory, so that one product serves them all.
struct FusedWeight {
  Weight all;                     // [sum of out, in], without gradient
  std::vector<at::Tensor> parts;  // [out, in] each, views of the same memory; these get the gradients
};

// x [rows, in] times weight [out, in] transposed: [rows, out]. On the CPU in float32 a row's bits depend on
// that row and the weight alone. A weight of another type than x (bfloat16 storage) is widened to x's first
// and gets no gradient; likewise below.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight);
at::Tensor linear(const at::Tensor& x, const FusedWeight& weight);

// Rows of `table` [vocab, hidden] by `tokens` [rows] int64: [rows, hidden], float32 where the table is
// bfloat16.
at::Tensor embedding(const at::Tensor& table, const at::Tensor& tokens);

// x / sqrt(mean(x^2) + eps) * weight, statistics in float32 at least: [rows, width].
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// (x - mean) / sqrt(var + eps) * weight + bias, statistics in float32 at least: [rows, width].
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps);

enum class Activation {
  Silu,
  Gelu,      // x * Phi(x)
  GeluTanh,  // its tanh approximation: gelu_new, gelu_pytorch_tanh
};
at::Tensor activate(const at::Tensor& x, Activation activation);

// The activation of the first half of the columns times the second half, [rows, 2 * width] -> [rows, width].
at::Tensor gated(const at::Tensor& gate_up, Activation activation);

// Which numbers of a head are a pair (spec section 15.3).
enum class RopeLayout {
  HalfSplit,    // j and j + rotated / 2
  Interleaved,  // 2j and 2j + 1
};

// Rotates the first 2 * cos.size(1) numbers of the first `heads` heads of x [rows, all heads, head_dim] by
// position and leaves the others. cos, sin [positions, at most head_dim / 2] float32; positions [rows] int64
// index their rows.
at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                const at::Tensor& positions, int64_t heads, RopeLayout layout = RopeLayout::HalfSplit);

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

// q [rows, heads, head_dim]; k [keys, kv_heads, head_dim]; v [keys, kv_heads, value_dim] -> [rows, heads,
// value_dim]. Grouped heads: query head h reads key head h / (heads / kv_heads). A query sees keys whose
// place is not after its own.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::shared_ptr<const AttentionPlan>& plan, const AttentionOptions& options);

// From hidden states to the logits a distribution is made of: z = hidden head^T, capped, over temperature.
struct LogitOptions {
  double temperature = 1.0;
  std::optional<double> soft_cap = {};  // z becomes cap * tanh(z / cap), before the temperature
};

// Log-prob of each target under softmax(z) and the entropy of that distribution. Chunked over rows; logits
// never leave. Log-sum-exp is log_sum_exp() below.
struct TokenLogprobs {
  at::Tensor logprobs;  // [rows] float32
  at::Tensor entropy;   // [rows] float32
  at::Tensor is_top;    // [rows] bool: no other token is likelier
};
TokenLogprobs token_logprobs(const at::Tensor& hidden,   // [rows, hidden]
                             const Weight& head,         // [vocab, hidden]
                             const at::Tensor& targets,  // [rows] int64
                             const LogitOptions& options);

// Row-wise log of the sum of exponentials, the row maximum subtracted first: [rows, vocab] -> [rows] float32.
// The sampler's and the loss's.
at::Tensor log_sum_exp(const at::Tensor& scaled_logits);

// z of the given hidden rows in float32, for the sampler alone: [rows, vocab].
at::Tensor scaled_logits(const at::Tensor& hidden, const Weight& head, const LogitOptions& options);

// The mean of each row's z over the vocabulary, without gradients: [rows]. Without a cap that is the product
// with the head's mean row; with one, which is not linear, all of z is computed, chunked over rows.
at::Tensor mean_logits(const at::Tensor& hidden, const Weight& head, const LogitOptions& options);

}  // namespace sluice::model
