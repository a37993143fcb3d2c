#include "optim/internal/adamw.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace sluice::optim {
namespace {

// Numbers that a processor's second-level cache holds of weights, gradient, both moments and the denominator:
// all that is done to them is done before the next ones are fetched.
constexpr int64_t kBlock = 1 << 16;

}  // namespace

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
  int64_t first = 0;  // in the moments
  for (const auto& stretch : own_) {
    const int64_t block = weights.is_cpu() ? kBlock : stretch.count;
    for (int64_t done = 0; done < stretch.count; done += block) {
      const int64_t count = std::min(block, stretch.count - done);
      const auto g = grad.narrow(0, stretch.first + done, count);
      const auto m = first_moment_.narrow(0, first + done, count);
      const auto v = second_moment_.narrow(0, first + done, count);
      m.lerp_(g, 1.0 - options_.beta1);
      v.mul_(options_.beta2).addcmul_(g, g, 1.0 - options_.beta2);
      const auto denominator = v.sqrt().mul_(1.0 / root_correction).add_(options_.eps);
      weights.narrow(0, stretch.first + done, count).addcdiv_(m, denominator, -step_size);
    }
    first += stretch.count;
  }
}

std::vector<model::NamedTensor> AdamW::state() const {
  return {{"optimizer.first_moment", first_moment_}, {"optimizer.second_moment", second_moment_}};
}

}  // namespace sluice::optim
