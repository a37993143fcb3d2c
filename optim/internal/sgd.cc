#include "optim/internal/sgd.h"

#include <ATen/ATen.h>

#include "model/large_tensor.h"

namespace sluice::optim {

Sgd::Sgd(const model::Parameters& parameters, const OptimizerOptions& options)
    : options_(options),
      decayed_(decayed_stretches(
          parameters, [](const model::ParameterSlot&) { return true; }, options)) {
  const auto& flat = parameters.flat();
  if (options_.momentum > 0.0) momentum_ = model::large_tensor(flat.numel(), flat.options()).zero_();
}

void Sgd::update(const at::Tensor& weights, const at::Tensor& grad, const UpdateFactors& factors) {
  decay(weights, decayed_, factors.lr * options_.weight_decay);
  if (factors.grad_scale != 1.0) grad.mul_(factors.grad_scale);
  weights.sub_(momentum_.defined() ? add_momentum(momentum_, grad, options_) : grad, factors.lr);
  grad.zero_();
}

std::vector<model::NamedTensor> Sgd::state() const {
  if (!momentum_.defined()) return {};
  return {{"optimizer.momentum", momentum_}};
}

}  // namespace sluice::optim
