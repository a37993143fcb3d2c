#include "sft/supervised_loss.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace sluice::sft {

at::Tensor supervised_loss(const at::Tensor& logprobs, const at::Tensor& weights, double step_weight,
                           LossKind kind) {
  require(logprobs.sizes() == weights.sizes(), "supervised_loss: logprobs is ", logprobs.sizes(),
          ", weights is ", weights.sizes());
  require(step_weight > 0.0, "supervised_loss: a step of weight ", step_weight);
  const auto factor = kind == LossKind::Dft ? weights * logprobs.detach().exp() : weights;  // [targets]
  return (factor * logprobs).sum() / -step_weight;
}

}  // namespace sluice::sft
