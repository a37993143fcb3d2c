#include "model/internal/residual.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "model/internal/raw_operators.h"
#include "model/internal/share_rows.h"

namespace sluice::model {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Threads share the numbers, as they do not in ATen's own sums.
void add(const float* x, const float* y, int64_t count, float* to) {
  share_rows(count, 1, [&](int64_t first, int64_t part) {
    for (int64_t i = first; i < first + part; ++i) to[i] = x[i] + y[i];
  });
}

// Below autograd, which ATen's own + is not.
Tensor sum_of(const Tensor& a, const Tensor& b) {
  if (!raw::has_kernels(a) || !raw::has_kernels(b)) return a + b;
  const auto left = a.contiguous(), right = b.contiguous();
  auto result = at::empty(left.sizes(), left.options().requires_grad(false));
  add(left.const_data_ptr<float>(), right.const_data_ptr<float>(), left.numel(),
      result.mutable_data_ptr<float>());
  return result;
}

Tensor sum_in_place(Tensor to, const Tensor& x) {
  if (!raw::has_kernels(to) || !raw::has_kernels(x) || !to.is_contiguous()) return to.add_(x);
  const auto more = x.contiguous();
  auto* const numbers = to.mutable_data_ptr<float>();
  add(numbers, more.const_data_ptr<float>(), to.numel(), numbers);
  return to;
}

struct Added : Function<Added> {
  static Tensor forward(AutogradContext*, const Tensor& hidden, const Tensor& x) { return sum_of(hidden, x); }
  static variable_list backward(AutogradContext*, variable_list grads) { return {grads[0], grads[0]}; }
};

struct ForTwo : Function<ForTwo> {
  static variable_list forward(AutogradContext* ctx, const Tensor& hidden) {
    ctx->set_materialize_grads(false);
    // Below autograd the views are plain tensors, so that this backward alone speaks for them.
    const at::AutoDispatchBelowADInplaceOrView below;
    return {hidden.view(hidden.sizes()), hidden.view(hidden.sizes())};
  }
  static variable_list backward(AutogradContext*, variable_list grads) {
    if (!grads[0].defined() || !grads[1].defined()) return {grads[0].defined() ? grads[0] : grads[1]};
    return {sum_of(grads[0], grads[1])};
  }
};

}  // namespace

Tensor add_to_stream(const Tensor& hidden, const Tensor& x) {
  if (!at::GradMode::is_enabled()) return sum_in_place(hidden, x);
  return hidden.requires_grad() || x.requires_grad() ? Added::apply(hidden, x) : sum_of(hidden, x);
}

std::pair<Tensor, Tensor> for_two(const Tensor& hidden) {
  if (!at::GradMode::is_enabled() || !hidden.requires_grad()) return {hidden, hidden};
  auto both = ForTwo::apply(hidden);
  return {both[0], both[1]};
}

}  // namespace sluice::model
