#include <ATen/ATen.h>

#include "model/internal/implementations.h"

namespace sluice::model::raw::aten {

at::Tensor embedding_backward(const at::Tensor& grad, const at::Tensor& tokens, int64_t vocab) {
  return at::zeros({vocab, grad.size(1)}, grad.options()).index_add_(0, tokens, grad);
}

std::tuple<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const auto inverse_rms = (x * x).mean(1).add_(eps).rsqrt_();  // [rows]
  return {(x * inverse_rms.unsqueeze(1)).mul_(weight), inverse_rms};
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& grad, const at::Tensor& x,
                                                     const at::Tensor& weight,
                                                     const at::Tensor& inverse_rms) {
  const auto scale = inverse_rms.unsqueeze(1);
  const auto normed = x * scale;
  const auto grad_normed = grad * weight;
  const auto along = (grad_normed * normed).mean(1, /*keepdim=*/true);
  return {(grad_normed - normed * along).mul_(scale), (grad * normed).sum(0)};
}

at::Tensor swiglu(const at::Tensor& gate_up) {
  const auto halves = gate_up.chunk(2, 1);
  return at::silu(halves[0]).mul_(halves[1]);
}

at::Tensor swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up) {
  const auto halves = gate_up.chunk(2, 1);
  const auto& gate = halves[0];
  const auto sigmoid = gate.sigmoid();
  const auto silu = gate * sigmoid;
  const auto grad_gate = grad * halves[1] * (sigmoid + silu * (1 - sigmoid));
  return at::cat({grad_gate, grad * silu}, 1);
}

at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                const at::Tensor& positions, int64_t heads, bool backward) {
  const int64_t half = x.size(2) / 2;
  const auto c = cos.index_select(0, positions).unsqueeze(1);  // [rows, 1, half]
  auto s = sin.index_select(0, positions).unsqueeze(1);
  if (backward) s = s.neg();
  const auto first = x.narrow(1, 0, heads).narrow(2, 0, half);
  const auto second = x.narrow(1, 0, heads).narrow(2, half, half);
  auto out = at::empty_like(x, at::MemoryFormat::Contiguous);
  out.narrow(1, 0, heads).narrow(2, 0, half).copy_((first * c).sub_(second * s));
  out.narrow(1, 0, heads).narrow(2, half, half).copy_((first * s).add_(second * c));
  const int64_t rest = x.size(1) - heads;
  if (rest > 0) out.narrow(1, heads, rest).copy_(x.narrow(1, heads, rest));
  return out;
}

}  // namespace sluice::model::raw::aten
