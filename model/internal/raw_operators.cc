#include "model/internal/raw_operators.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "model/internal/implementations.h"
#include "model/kernels/kernels.h"

namespace sluice::model::raw {

using at::Tensor;

bool has_kernels(const Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat; }

at::ScalarType wide_type(const Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

Tensor at_least_float(const Tensor& x) { return x.to(wide_type(x)); }

Tensor in_type_of(const Tensor& x, const Tensor& weight) {
  return weight.scalar_type() == x.scalar_type() ? weight : weight.to(x.scalar_type());
}

bool has_product_kernel(const Tensor& weight) { return cpu::takes_weight(weight); }

void pack_into(const Tensor& weight, const Tensor& panels, const Tensor& scales) {
  cpu::pack(weight, panels, scales);
}

model::cpu::WeightType type_of_packed(const Tensor& panels) {
  using model::cpu::WeightType;
  if (panels.scalar_type() == at::kChar) return WeightType::Int8;
  if (panels.scalar_type() == at::kHalf) return WeightType::Float16;
  return panels.scalar_type() == at::kBFloat16 ? WeightType::BFloat16 : WeightType::Float32;
}

model::cpu::NumberType number_type(NarrowType type) {
  using model::cpu::NumberType;
  if (!type) return NumberType::Float32;
  return *type == at::kHalf ? NumberType::Float16 : NumberType::BFloat16;
}

Tensor as_multiplied(const Tensor& weight, NarrowType type) { return type ? weight.to(*type) : weight; }

Tensor rounded(const Tensor& x, NarrowType type) {
  if (!type) return x;
  const auto narrow = x.to(*type);
  return x.is_cuda() ? narrow : narrow.to(x.scalar_type());
}

Tensor kept_rows(const Tensor& x, const Weight& weight) {
  const auto type = weight.rounds_rows_to();
  if (!type) return x;
  return has_kernels(x) ? cpu::narrowed(x, *type) : x.to(*type);
}

Tensor pack(const Tensor& weight, NarrowType type) {
  if (!has_product_kernel(weight)) return {};
  auto panels = at::empty({model::cpu::packed_size(weight.size(0), weight.size(1))},
                          type.value_or(weight.scalar_type()));
  pack_into(weight, panels);
  return panels;
}

namespace {

// In the type asked for: a GPU multiplies 16-bit numbers and adds in float32.
Tensor product(const Tensor& a, const Tensor& b, at::ScalarType type) {
  return a.scalar_type() == type ? at::mm(a, b) : at::mm(a, b, type);
}

void add_product(const Tensor& a, const Tensor& b, Tensor& sum) {
  if (a.scalar_type() == sum.scalar_type()) {
    sum.addmm_(a, b);
  } else {
    sum.add_(product(a, b, sum.scalar_type()));
  }
}

}  // namespace

Tensor linear(const Tensor& x, const Weight& weight) {
  const auto& rows = weight.rows;
  require(x.dim() == 2 && rows.dim() == 2 && x.size(1) == rows.size(1), "linear: rows ", x.sizes(),
          " for a weight ", rows.sizes());
  if (!has_kernels(x) || !(weight.packed.defined() || has_product_kernel(rows))) {
    const auto factor = rounded(x, weight.rounds_rows_to());
    return product(factor, in_type_of(factor, as_multiplied(rows, weight.rounds_to())).t(), x.scalar_type());
  }
  return cpu::linear(x, weight);
}

namespace {

// The factors of grad * weight where ATen multiplies.
std::pair<Tensor, Tensor> factors_of(const Tensor& grad, const Weight& weight) {
  const auto factor = rounded(grad, weight.rounds_rows_to());
  return {factor, in_type_of(factor, as_multiplied(weight.rows, weight.rounds_to()))};
}
// Those of grad^T * x.
std::pair<Tensor, Tensor> factors_of(const Tensor& grad, const Tensor& x, NarrowType type) {
  const auto factor = rounded(grad, type);
  return {factor.t(), in_type_of(factor, rounded(x, type))};
}

}  // namespace

Tensor linear_grad_x(const Tensor& grad, const Weight& weight) {
  if (has_kernels(grad)) return cpu::linear_grad_x(grad, weight);
  const auto [factor, rows] = factors_of(grad, weight);
  return product(factor, rows, wide_type(grad));
}

void add_linear_grad_x(const Tensor& grad, const Weight& weight, Tensor& sum) {
  if (has_kernels(grad)) return cpu::add_linear_grad_x(grad, weight, sum);
  const auto [factor, rows] = factors_of(grad, weight);
  add_product(factor, rows, sum);
}

void add_linear_grad_weight(const Tensor& grad, const Tensor& x, NarrowType type, Tensor& sum) {
  if (has_kernels(grad))
    return cpu::add_linear_grad_weight(grad, has_kernels(x) ? x : cpu::widened(x), type, sum);
  const auto [turned, rows] = factors_of(grad, x, type);
  add_product(turned, rows, sum);
}

Tensor linear_grad_weight(const Tensor& grad, const Tensor& x, NarrowType type) {
  if (!has_kernels(grad)) {
    const auto [turned, rows] = factors_of(grad, x, type);
    return product(turned, rows, wide_type(grad));
  }
  auto sum = at::zeros({grad.size(1), x.size(1)}, grad.options());
  add_linear_grad_weight(grad, x, type, sum);
  return sum;
}

TokenLogprobParts token_logprobs(const Tensor& hidden, const Weight& head, const Tensor& targets,
                                 const LogitOptions& options) {
  if (has_kernels(hidden)) return cpu::token_logprobs(hidden, head, targets, options);
  return cuda::takes_logits(hidden) ? cuda::token_logprobs(hidden, head, targets, options)
                                    : aten::token_logprobs(hidden, head, targets, options);
}

Tensor embedding_backward(const Tensor& grad, const Tensor& tokens, int64_t vocab, const Tensor& sum) {
  return has_kernels(grad) ? cpu::embedding_backward(grad, tokens, vocab, sum)
                           : aten::embedding_backward(grad, tokens, vocab, sum);
}

void put_rows(const Tensor& table, const Tensor& index, const Tensor& x) {
  if (has_kernels(x) && has_kernels(table)) return cpu::put_rows(table, index, x);
  table.index_copy_(0, index, x);
}

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  return has_kernels(x) ? cpu::rms_norm(x, in_type_of(x, weight), eps) : aten::rms_norm(x, weight, eps);
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                             const Tensor& inverse_rms) {
  return has_kernels(x) ? cpu::rms_norm_backward(grad, x, in_type_of(x, weight), inverse_rms)
                        : aten::rms_norm_backward(grad, x, weight, inverse_rms);
}

Tensor gated(const Tensor& gate_up, Activation activation) {
  return cpu::takes_gated(gate_up, activation) ? cpu::gated(gate_up, activation)
                                               : aten::gated(gate_up, activation);
}

Tensor gated_backward(const Tensor& grad, const Tensor& gate_up, Activation activation) {
  return cpu::takes_gated(gate_up, activation) ? cpu::gated_backward(grad, gate_up, activation)
                                               : aten::gated_backward(grad, gate_up, activation);
}

Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, const Tensor& positions, int64_t heads,
            RopeLayout layout, bool backward) {
  return has_kernels(x) && layout == RopeLayout::HalfSplit
             ? cpu::rope(x, cos, sin, positions, heads, backward)
             : aten::rope(x, cos, sin, positions, heads, layout, backward);
}

namespace {

bool is_for_gpu_kernel(const Tensor& q, const Tensor& v, const AttentionOptions& options) {
  return (q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf) &&
         cuda::takes_attention(q, v, options);
}

}  // namespace

std::tuple<Tensor, Tensor> attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                     const AttentionPlan& plan, const AttentionOptions& options) {
  if (cpu::takes_attention(q, k, v)) return cpu::attention(q, k, v, plan, options);
  return is_for_gpu_kernel(q, v, options) ? cuda::attention(q, k, v, plan, options)
                                          : aten::attention(q, k, v, plan, options);
}

std::tuple<Tensor, Tensor, Tensor> attention_backward(const Tensor& grad, const Tensor& q, const Tensor& k,
                                                      const Tensor& v, const Tensor& out,
                                                      const Tensor& softmax, const AttentionPlan& plan,
                                                      const AttentionOptions& options) {
  // What the forward took comes back here; keys of a cache have no gradients.
  if (cpu::takes_attention(q, k, v) && k.size(0) == q.size(0))
    return cpu::attention_backward(grad, q, k, v, out, softmax, plan, options);
  return is_for_gpu_kernel(q, v, options)
             ? cuda::attention_backward(grad, q, k, v, out, softmax, plan, options)
             : aten::attention_backward(grad, q, k, v, out, softmax, plan, options);
}

}  // namespace sluice::model::raw
