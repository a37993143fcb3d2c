// The forward and backward of every operator, without autograd, and who implements them.
//
// Arguments and results are as in operators.h; a backward gets the gradient of the result first. Each of
// these chooses by the tensors it gets: kernels of this project (namespace cpu) for float32 on the CPU, those
// for 16-bit numbers on a GPU (namespace cuda), compositions of ATen's operators (namespace aten) for any
// other type, device or shape.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

#include "model/internal/attention_plan.h"
#include "model/kernels/kernels.h"
#include "model/operators.h"

namespace sluice::model::raw {

// Whether the kernels of namespace cpu take this tensor.
bool has_kernels(const at::Tensor& x);

// float32 unless x is of float64, and x in that type.
at::ScalarType wide_type(const at::Tensor& x);
at::Tensor at_least_float(const at::Tensor& x);
// The weight itself unless its type is another than x's.
at::Tensor in_type_of(const at::Tensor& x, const at::Tensor& weight);

// Whether there is a kernel for products with this weight.
bool has_product_kernel(const at::Tensor& weight);
// Puts such a weight into `panels` [cpu::packed_size()] in the order the kernel reads it, which costs as much
// as a product of some 25 rows. Panels of 16-bit numbers and int8 take float32 weights too, rounded; int8
// wants `scales` [out].
void pack_into(const at::Tensor& weight, const at::Tensor& panels, const at::Tensor& scales = {});
// The same into a tensor of its own; undefined where ATen computes the product.
at::Tensor pack(const at::Tensor& weight, NarrowType type = {});
// What a product multiplies with: rounded, or itself.
at::Tensor as_multiplied(const at::Tensor& weight, NarrowType type);
// What ATen multiplies with a weight, rows or the gradients of its results: rounded, in the type it had, but
// on a GPU, which multiplies such numbers as they are.
at::Tensor rounded(const at::Tensor& x, NarrowType type);
// The rows of a product that its backward multiplies with: half the bytes where they are rounded.
at::Tensor kept_rows(const at::Tensor& x, const Weight& weight);
model::cpu::WeightType type_of_packed(const at::Tensor& panels);
model::cpu::NumberType number_type(NarrowType type);
// Packs a weight that is not, a part at a time. Throws Error when x is no [rows, in].
at::Tensor linear(const at::Tensor& x, const Weight& weight);
// Its gradients: grad * weight [rows, in], and grad^T * x added to `sum` [out, in], contiguous. What the
// weight rounds, or `type` says, is rounded here. Of 16-bit numbers on a GPU they are float32.
at::Tensor linear_grad_x(const at::Tensor& grad, const Weight& weight);
// Added to `sum` [rows, in], contiguous.
void add_linear_grad_x(const at::Tensor& grad, const Weight& weight, at::Tensor& sum);
void add_linear_grad_weight(const at::Tensor& grad, const at::Tensor& x, NarrowType type, at::Tensor& sum);
at::Tensor linear_grad_weight(const at::Tensor& grad, const at::Tensor& x, NarrowType type = {});

// Added to `sum` [vocab, width] where there is one, and that returned.
at::Tensor embedding_backward(const at::Tensor& grad, const at::Tensor& tokens, int64_t vocab,
                              const at::Tensor& sum = {});

// Writes x [rows, heads, head_dim] to the rows `index` of the contiguous `table`, in place. The caller has
// checked the index.
void put_rows(const at::Tensor& table, const at::Tensor& index, const at::Tensor& x);

// The result and 1 / sqrt(mean(x^2) + eps) of each row, [rows].
std::tuple<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
// Gradients of x and weight.
std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& grad, const at::Tensor& x,
                                                     const at::Tensor& weight, const at::Tensor& inverse_rms);

at::Tensor gated(const at::Tensor& gate_up, Activation activation);
at::Tensor gated_backward(const at::Tensor& grad, const at::Tensor& gate_up, Activation activation);

// The backward is the rotation the other way.
at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                const at::Tensor& positions, int64_t heads, RopeLayout layout, bool backward);

// The result and what the backward wants to know of the softmax (its own business).
std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                             const AttentionPlan& plan, const AttentionOptions& options);
// Gradients of q, k and v.
std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(const at::Tensor& grad, const at::Tensor& q,
                                                                  const at::Tensor& k, const at::Tensor& v,
                                                                  const at::Tensor& out,
                                                                  const at::Tensor& softmax,
                                                                  const AttentionPlan& plan,
                                                                  const AttentionOptions& options);

// How many rows have their logits at once in the next two where ATen computes, and where a GPU's kernels do.
int64_t logit_chunk_rows(int64_t vocab);
int64_t gpu_logit_rows(int64_t vocab);
// The logits, in numbers, that these two have at once of so many rows of float32.
int64_t logits_at_once(const at::Device& device, int64_t rows, int64_t vocab);
struct TokenLogprobParts {
  at::Tensor logprobs, entropy, lse;  // [rows] each
  at::Tensor is_top;                  // [rows] bool
};
TokenLogprobParts token_logprobs(const at::Tensor& hidden, const Weight& head, const at::Tensor& targets,
                                 const LogitOptions& options);
// Of a row: what the forward gave, and the gradients of its results; that of the entropy may be undefined.
struct TokenLogprobSums {
  at::Tensor lse, entropy;
};
struct TokenLogprobGrads {
  at::Tensor logprobs, entropy;
};
// Gradients of hidden and, unless `head_is_frozen`, head, the latter added to `head_sum` where there is one,
// and that returned. Logits are computed again.
std::tuple<at::Tensor, at::Tensor> token_logprobs_backward(const TokenLogprobGrads& grads,
                                                           const at::Tensor& hidden, const Weight& head,
                                                           const at::Tensor& targets,
                                                           const TokenLogprobSums& sums,
                                                           const LogitOptions& options, bool head_is_frozen,
                                                           const at::Tensor& head_sum = {});

}  // namespace sluice::model::raw
