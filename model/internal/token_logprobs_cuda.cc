// Log-probs of tokens on a GPU, some rows at a time: one product, and one kernel that reads it once.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAStream.h>

#include "model/internal/chunks.h"
#include "model/internal/implementations.h"
#include "model/kernels/gpu_logits.h"

namespace sluice::model::raw::cuda {
namespace {

gpu::LogitRows rows_of(const at::Tensor& logits, const at::Tensor& targets, const LogitOptions& options) {
  return {.logits = logits.const_data_ptr<float>(),
          .targets = targets.const_data_ptr<int64_t>(),
          .rows = logits.size(0),
          .vocab = logits.size(1),
          .temperature = static_cast<float>(options.temperature),
          .soft_cap = static_cast<float>(options.soft_cap.value_or(0.0))};
}

// The head as the product takes it, converted once for all rows.
Weight multiplied(const at::Tensor& hidden, const Weight& head) {
  const auto rows = as_multiplied(head.rows, head.rounds_to());
  return {head.rounds_rows_to() ? rows : in_type_of(hidden, rows), {}, head.rounding};
}

}  // namespace

bool takes_logits(const at::Tensor& hidden) { return hidden.is_cuda() && hidden.scalar_type() == at::kFloat; }

TokenLogprobParts token_logprobs(const at::Tensor& hidden, const Weight& head, const at::Tensor& targets,
                                 const LogitOptions& options) {
  const auto weight = multiplied(hidden, head);
  const auto all_targets = targets.contiguous();
  const int64_t num_rows = hidden.size(0);
  const auto numbers = at::empty({3, num_rows}, hidden.options());
  const TokenLogprobParts parts{numbers[0], numbers[1], numbers[2],
                                at::empty({num_rows}, hidden.options().dtype(at::kBool))};
  auto* const stream = c10::cuda::getCurrentCUDAStream(hidden.get_device()).stream();
  for_each_chunk(num_rows, gpu_logit_rows(head.rows.size(0)), [&](int64_t first, int64_t count) {
    const auto logits = raw::linear(hidden.narrow(0, first, count), weight);
    gpu::add_up_logits(rows_of(logits, all_targets.narrow(0, first, count), options),
                       {.logprobs = parts.logprobs.mutable_data_ptr<float>() + first,
                        .entropy = parts.entropy.mutable_data_ptr<float>() + first,
                        .lse = parts.lse.mutable_data_ptr<float>() + first,
                        .is_top = parts.is_top.mutable_data_ptr<bool>() + first},
                       stream);
  });
  return parts;
}

std::tuple<at::Tensor, at::Tensor> token_logprobs_backward(const TokenLogprobGrads& grads,
                                                           const at::Tensor& hidden, const Weight& head,
                                                           const at::Tensor& targets,
                                                           const TokenLogprobSums& sums,
                                                           const LogitOptions& options, bool head_is_frozen,
                                                           const at::Tensor& head_sum) {
  const auto weight = multiplied(hidden, head);
  const auto all_targets = targets.contiguous(), of_logprobs = grads.logprobs.contiguous();
  const auto of_entropy = grads.entropy.defined() ? grads.entropy.contiguous() : at::Tensor();
  auto grad_hidden = at::zeros_like(hidden);
  auto grad_head =
      head_is_frozen || head_sum.defined() ? head_sum : at::zeros(head.rows.sizes(), hidden.options());
  auto* const stream = c10::cuda::getCurrentCUDAStream(hidden.get_device()).stream();
  for_each_chunk(hidden.size(0), gpu_logit_rows(head.rows.size(0)), [&](int64_t first, int64_t count) {
    const auto x = hidden.narrow(0, first, count);
    const auto factor = rounded(x, head.rounds_rows_to());
    const auto logits = raw::linear(x, weight);
    const auto grad_logits = at::empty(logits.sizes(), factor.options());
    gpu::differentiate_logits(
        rows_of(logits, all_targets.narrow(0, first, count), options),
        {.lse = sums.lse.const_data_ptr<float>() + first,
         .entropy = sums.entropy.const_data_ptr<float>() + first,
         .of_logprobs = of_logprobs.const_data_ptr<float>() + first,
         .of_entropy = of_entropy.defined() ? of_entropy.const_data_ptr<float>() + first : nullptr,
         .logits = grad_logits.mutable_data_ptr(),
         .type = number_type(head.rounds_rows_to())},
        stream);
    auto of_rows = grad_hidden.narrow(0, first, count);
    add_linear_grad_x(grad_logits, weight, of_rows);
    if (grad_head.defined()) add_linear_grad_weight(grad_logits, factor, head.rounds_rows_to(), grad_head);
  });
  return {grad_hidden, grad_head};
}

}  // namespace sluice::model::raw::cuda
