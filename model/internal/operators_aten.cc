#include <ATen/ATen.h>

#include <array>

#include "model/internal/implementations.h"

namespace sluice::model::raw::aten {
namespace {

const char* approximation(Activation activation) {
  return activation == Activation::GeluTanh ? "tanh" : "none";
}

// The two numbers of each pair of the first `heads` heads, [rows, heads, pairs] each.
std::array<at::Tensor, 2> pairs_of(const at::Tensor& x, int64_t heads, int64_t pairs, RopeLayout layout) {
  const auto turned = x.narrow(1, 0, heads);
  if (layout == RopeLayout::Interleaved) {
    return {turned.slice(2, 0, 2 * pairs, 2), turned.slice(2, 1, 2 * pairs, 2)};
  }
  return {turned.narrow(2, 0, pairs), turned.narrow(2, pairs, pairs)};
}

}  // namespace

at::Tensor embedding_backward(const at::Tensor& grad, const at::Tensor& tokens, int64_t vocab,
                              const at::Tensor& sum) {
  auto result = sum.defined() ? sum : at::zeros({vocab, grad.size(1)}, grad.options());
  return result.index_add_(0, tokens, grad);
}

std::tuple<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const auto wide = at_least_float(x);
  const auto inverse_rms = (wide * wide).mean(1).add_(eps).rsqrt_();  // [rows]
  return {(wide * inverse_rms.unsqueeze(1)).mul_(weight).to(x.scalar_type()), inverse_rms};
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& grad, const at::Tensor& x,
                                                     const at::Tensor& weight,
                                                     const at::Tensor& inverse_rms) {
  const auto scale = inverse_rms.unsqueeze(1);
  const auto normed = x * scale;  // in the type of the statistics
  const auto grad_normed = at_least_float(grad) * weight;
  const auto along = (grad_normed * normed).mean(1, /*keepdim=*/true);
  return {(grad_normed - normed * along).mul_(scale).to(x.scalar_type()), (grad * normed).sum(0)};
}

at::Tensor gated(const at::Tensor& gate_up, Activation activation) {
  const auto halves = gate_up.chunk(2, 1);
  return model::activate(halves[0], activation).mul_(halves[1]);
}

at::Tensor gated_backward(const at::Tensor& grad, const at::Tensor& gate_up, Activation activation) {
  const auto halves = gate_up.chunk(2, 1);
  const auto& gate = halves[0];
  const auto grad_active = grad * halves[1];
  const auto grad_gate = activation == Activation::Silu
                             ? at::silu_backward(grad_active, gate)
                             : at::gelu_backward(grad_active, gate, approximation(activation));
  return at::cat({grad_gate, grad * model::activate(gate, activation)}, 1);
}

at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                const at::Tensor& positions, int64_t heads, RopeLayout layout, bool backward) {
  const auto c = cos.index_select(0, positions).unsqueeze(1);  // [rows, 1, pairs]
  auto s = sin.index_select(0, positions).unsqueeze(1);
  if (backward) s = s.neg();
  auto result = x.clone(at::MemoryFormat::Contiguous);
  const auto [first, second] = pairs_of(x, heads, cos.size(1), layout);
  const auto [to_first, to_second] = pairs_of(result, heads, cos.size(1), layout);
  to_first.copy_((first * c).sub_(second * s));
  to_second.copy_((first * s).add_(second * c));
  return result;
}

}  // namespace sluice::model::raw::aten
