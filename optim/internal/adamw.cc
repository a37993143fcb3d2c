#include "optim/internal/adamw.h"

#include <ATen/ATen.h>

#include <cmath>

namespace sluice::optim {

AdamW::AdamW(const model::Parameters& parameters, const OptimizerOptions& options)
    : AdamW(parameters, options, [](const model::ParameterSlot&) { return true; }) {}

AdamW::AdamW(const model::Parameters& parameters, const OptimizerOptions& options,
             const SlotFilter& is_chosen)
    : options_(options),
      own_(stretches(parameters, is_chosen)),
      decayed_(decayed_stretches(parameters, is_chosen, options)) {
  int64_t count = 0;
  for (const auto& stretch : own_) count += stretch.count;
  first_moment_ = at::zeros({count}, parameters.flat().options());
  second_moment_ = at::zeros_like(first_moment_);
}

void AdamW::update(const at::Tensor& weights, const at::Tensor& grad, double lr, int64_t num_updates) {
  const auto t = static_cast<double>(num_updates);
  const double step_size = lr / (1.0 - std::pow(options_.beta1, t));
  const double root_correction = std::sqrt(1.0 - std::pow(options_.beta2, t));

  decay(weights, decayed_, lr * options_.weight_decay);
  int64_t first = 0;
  for (const auto& stretch : own_) {
    const auto g = stretch.of(grad);
    const auto m = first_moment_.narrow(0, first, stretch.count);
    const auto v = second_moment_.narrow(0, first, stretch.count);
    m.lerp_(g, 1.0 - options_.beta1);
    v.mul_(options_.beta2).addcmul_(g, g, 1.0 - options_.beta2);
    const auto denominator = v.sqrt().mul_(1.0 / root_correction).add_(options_.eps);
    stretch.of(weights).addcdiv_(m, denominator, -step_size);
    first += stretch.count;
  }
}

std::vector<model::NamedTensor> AdamW::state() const {
  return {{"optimizer.first_moment", first_moment_}, {"optimizer.second_moment", second_moment_}};
}

}  // namespace sluice::optim
