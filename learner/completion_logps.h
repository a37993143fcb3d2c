// From the log-probs of tokens to what the preference losses take (spec section 9).
//
// `tokens` counts the tokens of several completions end to end, nothing padded, prompts left out.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace sluice::learner {

// [completions] float64, passes gradients: the sum over each completion's tokens of logprobs [tokens], times
// `weights` [tokens] where there are some. Summed in float64, as the losses take differences of large sums.
at::Tensor completion_logps(const at::Tensor& logprobs, const std::vector<int64_t>& lengths,
                            const at::Tensor& weights = {});

// LD-DPO 2024: [tokens] float64 on the CPU, 1 up to the length of the pair's shorter completion and
// `ld_alpha` beyond. The same for policy and reference; `others` are the lengths of the other completions of
// the pairs.
at::Tensor ld_weights(const std::vector<int64_t>& lengths, const std::vector<int64_t>& others,
                      double ld_alpha);

// log(sum of squared probabilities) of logits [tokens, vocab], how likely two draws are to agree: [tokens].
at::Tensor log_collision(const at::Tensor& logits);
// WPO 2024: [completions] float64 without gradient, exp(mean(logprobs - collision)) of [tokens] each. A
// pair's weight is the product of its completions'.
at::Tensor wpo_weights(const at::Tensor& logprobs, const at::Tensor& collision,
                       const std::vector<int64_t>& lengths);

}  // namespace sluice::learner
