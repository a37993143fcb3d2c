// The loss of supervised training on the tokens it learns (spec sections 11.1 and 11.2).
#pragma once

#include <ATen/core/Tensor.h>

namespace sluice::sft {

enum class LossKind {
  Nll,  // -log p of each token
  Dft,  // that times p, held constant: unlikely tokens pull less (DFT, Wu 2025)
};

// The weighted sum over a micro-batch's targets, divided by `step_weight`, the sum of the weights in the
// whole optimizer step, so that the gradient is the same however the step is cut. `logprobs` [targets]
// carries grad; `weights` [targets]. Returns a scalar; throws Error when the shapes disagree or nothing has
// weight.
at::Tensor supervised_loss(const at::Tensor& logprobs, const at::Tensor& weights, double step_weight,
                           LossKind kind = LossKind::Nll);

}  // namespace sluice::sft
