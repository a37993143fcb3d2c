#include "model/internal/raw_operators.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "model/internal/implementations.h"
#include "model/kernels/kernels.h"

namespace sluice::model::raw {

using at::Tensor;

bool has_kernels(const Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat; }

Tensor at_least_float(const Tensor& x) {
  return x.scalar_type() == at::kDouble || x.scalar_type() == at::kFloat ? x : x.to(at::kFloat);
}

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
  return panels.scalar_type() == at::kBFloat16 ? WeightType::BFloat16 : WeightType::Float32;
}

Tensor as_multiplied(const Tensor& weight, bool rounds) { return rounds ? weight.to(at::kBFloat16) : weight; }

Tensor rounded(const Tensor& x, const Weight& weight) {
  return weight.rounds_both() ? x.to(at::kBFloat16).to(x.scalar_type()) : x;
}

Tensor pack(const Tensor& weight, bool rounds) {
  if (!has_product_kernel(weight)) return {};
  auto panels = at::empty({model::cpu::packed_size(weight.size(0), weight.size(1))},
                          rounds ? at::kBFloat16 : weight.scalar_type());
  pack_into(weight, panels);
  return panels;
}

Tensor linear(const Tensor& x, const Weight& weight) {
  const auto& rows = weight.rows;
  require(x.dim() == 2 && rows.dim() == 2 && x.size(1) == rows.size(1), "linear: rows ", x.sizes(),
          " for a weight ", rows.sizes());
  if (!has_kernels(x) || !(weight.packed.defined() || has_product_kernel(rows)))
    return at::mm(rounded(x, weight), in_type_of(x, as_multiplied(rows, weight.rounds())).t());
  return cpu::linear(rounded(x, weight), weight);
}

Tensor linear_grad_x(const Tensor& grad, const Tensor& weight) {
  return has_kernels(grad) ? cpu::linear_grad_x(grad, weight) : at::mm(grad, weight);
}

void add_linear_grad_x(const Tensor& grad, const Tensor& weight, Tensor& sum) {
  if (has_kernels(grad)) return cpu::add_linear_grad_x(grad, weight, sum);
  sum.addmm_(grad, weight);
}

void add_linear_grad_weight(const Tensor& grad, const Tensor& x, Tensor& sum) {
  if (has_kernels(grad) && has_kernels(x)) return cpu::add_linear_grad_weight(grad, x, sum);
  sum.addmm_(grad.t(), x);
}

Tensor linear_grad_weight(const Tensor& grad, const Tensor& x) {
  auto sum = at::zeros({grad.size(1), x.size(1)}, x.options());
  add_linear_grad_weight(grad, x, sum);
  return sum;
}

TokenLogprobParts token_logprobs(const Tensor& hidden, const Weight& head, const Tensor& targets,
                                 const LogitOptions& options) {
  return has_kernels(hidden) ? cpu::token_logprobs(hidden, head, targets, options)
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

std::tuple<Tensor, Tensor> attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                     const AttentionPlan& plan, const AttentionOptions& options) {
  return cpu::takes_attention(q, k, v) ? cpu::attention(q, k, v, plan, options)
                                       : aten::attention(q, k, v, plan, options);
}

std::tuple<Tensor, Tensor, Tensor> attention_backward(const Tensor& grad, const Tensor& q, const Tensor& k,
                                                      const Tensor& v, const Tensor& out,
                                                      const Tensor& softmax, const AttentionPlan& plan,
                                                      const AttentionOptions& options) {
  // What the forward took comes back here; keys of a cache have no gradients.
  const bool kernels = cpu::takes_attention(q, k, v) && k.size(0) == q.size(0);
  return kernels ? cpu::attention_backward(grad, q, k, v, out, softmax, plan, options)
                 : aten::attention_backward(grad, q, k, v, out, softmax, plan, options);
}

}  // namespace sluice::model::raw
