// The sets of implementations behind raw_operators.h, with the same arguments and results.
#pragma once

#include "model/internal/raw_operators.h"

namespace sluice::model::raw {

// Any floating type and device.
namespace aten {
TokenLogprobParts token_logprobs(const at::Tensor& hidden, const Weight& head, const at::Tensor& targets,
                                 const LogitOptions& options);
at::Tensor embedding_backward(const at::Tensor& grad, const at::Tensor& tokens, int64_t vocab,
                              const at::Tensor& sum = {});
std::tuple<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& grad, const at::Tensor& x,
                                                     const at::Tensor& weight, const at::Tensor& inverse_rms);
at::Tensor gated(const at::Tensor& gate_up, Activation activation);
at::Tensor gated_backward(const at::Tensor& grad, const at::Tensor& gate_up, Activation activation);
at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                const at::Tensor& positions, int64_t heads, RopeLayout layout, bool backward);
std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                             const AttentionPlan& plan, const AttentionOptions& options);
std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(const at::Tensor& grad, const at::Tensor& q,
                                                                  const at::Tensor& k, const at::Tensor& v,
                                                                  const at::Tensor& out,
                                                                  const at::Tensor& softmax,
                                                                  const AttentionPlan& plan,
                                                                  const AttentionOptions& options);
}  // namespace aten

// float32 on the CPU.
namespace cpu {
// float32 and bfloat16 [out, in].
bool takes_weight(const at::Tensor& weight);
void pack(const at::Tensor& weight, const at::Tensor& panels, const at::Tensor& scales);
at::Tensor linear(const at::Tensor& x, const Weight& weight);
// float32 as 16-bit numbers, rounded to the nearest, and those as float32.
at::Tensor narrowed(const at::Tensor& x, at::ScalarType type);
at::Tensor widened(const at::Tensor& x);
at::Tensor linear_grad_x(const at::Tensor& grad, const Weight& weight);
void add_linear_grad_x(const at::Tensor& grad, const Weight& weight, at::Tensor& sum);
void add_linear_grad_weight(const at::Tensor& grad, const at::Tensor& x, NarrowType type, at::Tensor& sum);
TokenLogprobParts token_logprobs(const at::Tensor& hidden, const Weight& head, const at::Tensor& targets,
                                 const LogitOptions& options);
void put_rows(const at::Tensor& table, const at::Tensor& index, const at::Tensor& x);
at::Tensor embedding_backward(const at::Tensor& grad, const at::Tensor& tokens, int64_t vocab,
                              const at::Tensor& sum = {});
std::tuple<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& grad, const at::Tensor& x,
                                                     const at::Tensor& weight, const at::Tensor& inverse_rms);
// Whether the kernels know the activation too: all but the exact GELU.
bool takes_gated(const at::Tensor& gate_up, Activation activation);
at::Tensor gated(const at::Tensor& gate_up, Activation activation);
at::Tensor gated_backward(const at::Tensor& grad, const at::Tensor& gate_up, Activation activation);
// Half-split.
at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                const at::Tensor& positions, int64_t heads, bool backward);
// Whether the attention kernels take these; head sizes that are no multiple of 16 are left to ATen.
bool takes_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);
std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                             const AttentionPlan& plan, const AttentionOptions& options);
// Keys are the batch's own rows. The three gradients are views of one buffer, as split_heads() cut its input,
// where values are as wide as keys.
std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(const at::Tensor& grad, const at::Tensor& q,
                                                                  const at::Tensor& k, const at::Tensor& v,
                                                                  const at::Tensor& out,
                                                                  const at::Tensor& softmax,
                                                                  const AttentionPlan& plan,
                                                                  const AttentionOptions& options);
}  // namespace cpu

// On a GPU; a build without CUDA takes nothing.
namespace cuda {
// 16-bit numbers by flash attention, float32 statistics: FlashAttention-2 (2023), as LibTorch has it.
bool takes_attention(const at::Tensor& q, const at::Tensor& v, const AttentionOptions& options);
std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                             const AttentionPlan& plan, const AttentionOptions& options);
std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(const at::Tensor& grad, const at::Tensor& q,
                                                                  const at::Tensor& k, const at::Tensor& v,
                                                                  const at::Tensor& out,
                                                                  const at::Tensor& softmax,
                                                                  const AttentionPlan& plan,
                                                                  const AttentionOptions& options);
// float32 hidden states: the logits of some rows come out of one product and are read once.
bool takes_logits(const at::Tensor& hidden);
TokenLogprobParts token_logprobs(const at::Tensor& hidden, const Weight& head, const at::Tensor& targets,
                                 const LogitOptions& options);
std::tuple<at::Tensor, at::Tensor> token_logprobs_backward(const TokenLogprobGrads& grads,
                                                           const at::Tensor& hidden, const Weight& head,
                                                           const at::Tensor& targets,
                                                           const TokenLogprobSums& sums,
                                                           const LogitOptions& options, bool head_is_frozen,
                                                           const at::Tensor& head_sum);
}  // namespace cuda

}  // namespace sluice::model::raw
