// Attention of 16-bit numbers on a GPU, whose packed sequences need no padding: LibTorch's flash attention.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>

#include "model/internal/implementations.h"

namespace sluice::model::raw::cuda {
namespace {

// Of a kernel: a query sees keys up to its own, and of these the last `window`.
struct Window {
  std::optional<int64_t> left, right;
};

Window window_of(const AttentionOptions& options) {
  if (!options.window) return {};
  return {.left = *options.window - 1, .right = 0};
}

}  // namespace

bool takes_attention(const at::Tensor& q, const at::Tensor& v, const AttentionOptions& options) {
  constexpr int64_t kWidestHead = 256;
  return q.is_cuda() && !options.soft_cap && q.size(2) == v.size(2) && q.size(2) % 8 == 0 &&
         q.size(2) <= kWidestHead && at::cuda::getDeviceProperties(q.get_device())->major >= 8;
}

std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                             const AttentionPlan& plan, const AttentionOptions& options) {
  const auto& n = plan.gathered(q.device());
  const auto window = window_of(options);
  const auto [out, lse, rng_state, unused, mask] = at::_flash_attention_forward(
      q, k.index_select(0, n.key_index), v.index_select(0, n.key_index), n.cum_queries, n.cum_keys,
      n.max_queries, n.max_keys, /*dropout_p=*/0.0, /*is_causal=*/true, /*return_debug_mask=*/false,
      options.scale, window.left, window.right);
  return {out, lse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(const at::Tensor& grad, const at::Tensor& q,
                                                                  const at::Tensor& k, const at::Tensor& v,
                                                                  const at::Tensor& out,
                                                                  const at::Tensor& softmax,
                                                                  const AttentionPlan& plan,
                                                                  const AttentionOptions& options) {
  const auto& n = plan.gathered(q.device());
  const auto window = window_of(options);
  const auto no_dropout = at::zeros({2}, q.options().dtype(at::kLong));  // its random state, which is unused
  const auto [grad_q, grad_keys, grad_values] = at::_flash_attention_backward(
      grad.contiguous(), q, k.index_select(0, n.key_index), v.index_select(0, n.key_index), out, softmax,
      n.cum_queries, n.cum_keys, n.max_queries, n.max_keys, /*dropout_p=*/0.0, /*is_causal=*/true, no_dropout,
      no_dropout, options.scale, window.left, window.right);
  // A key that several sequences see gets the sum, of float32.
  const auto of_rows = [&](const at::Tensor& gathered, const at::Tensor& like) {
    auto sum = at::zeros(like.sizes(), like.options().dtype(at::kFloat));
    return sum.index_add_(0, n.key_index, gathered.to(at::kFloat)).to(like.scalar_type());
  };
  return {grad_q, of_rows(grad_keys, k), of_rows(grad_values, v)};
}

}  // namespace sluice::model::raw::cuda
