// Multi-token prediction (DeepSeek-V3 2024; spec section 13): what head k predicts, and what its loss weighs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace sluice::sft {

// The targets of the positions 0 .. tokens - 2 - depth: the token `depth + 1` behind each, and that token's
// place in the loss. Depth 0 is the network's own head.
struct ShiftedTargets {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> weights;
};
ShiftedTargets shifted_targets(std::span<const int32_t> tokens, std::span<const uint8_t> loss_mask,
                               int64_t depth);

// Mean of -logprobs over the targets that count: [targets] -> scalar. 0 where none does.
at::Tensor shifted_loss(const at::Tensor& logprobs, std::span<const uint8_t> weights);

// main + factor times the mean of the losses of all depths.
at::Tensor multi_token_loss(const at::Tensor& main, std::span<const at::Tensor> depths, double factor);

}  // namespace sluice::sft
