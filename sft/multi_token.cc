#include "sft/multi_token.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace sluice::sft {

ShiftedTargets shifted_targets(std::span<const int32_t> tokens, std::span<const uint8_t> loss_mask,
                               int64_t depth) {
  require(tokens.size() == loss_mask.size() && depth >= 0, "shifted_targets: ", tokens.size(),
          " tokens with a mask of ", loss_mask.size(), ", depth ", depth);
  const size_t first = std::min(tokens.size(), static_cast<size_t>(depth) + 1);
  return {.tokens = {tokens.begin() + static_cast<std::ptrdiff_t>(first), tokens.end()},
          .weights = {loss_mask.begin() + static_cast<std::ptrdiff_t>(first), loss_mask.end()}};
}

at::Tensor shifted_loss(const at::Tensor& logprobs, std::span<const uint8_t> weights) {
  require(logprobs.dim() == 1 && logprobs.numel() == std::ssize(weights), "shifted_loss: logprobs are ",
          logprobs.sizes(), " for ", weights.size(), " targets");
  const std::vector<double> numbers(weights.begin(), weights.end());
  const auto factors = at::tensor(numbers, at::kDouble).to(logprobs.options().requires_grad(false));
  return -(logprobs * factors).sum() / factors.sum().clamp_min(1);
}

at::Tensor multi_token_loss(const at::Tensor& main, std::span<const at::Tensor> depths, double factor) {
  auto loss = main;
  for (const auto& depth : depths) loss = loss + depth * (factor / static_cast<double>(depths.size()));
  return loss;
}

}  // namespace sluice::sft
