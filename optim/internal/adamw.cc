#include "optim/internal/adamw.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/shared_work.h"
#include "optim/internal/flat_loops.h"

namespace sluice::optim {
namespace {

constexpr int64_t kBlock = 1 << 14;  // numbers that one thread moves

template <class Real>
void move_weights(const at::Tensor& weights, const at::Tensor& grad, const at::Tensor& first_moment,
                  const at::Tensor& second_moment, const AdamWFactors& factors) {
  const int64_t count = weights.numel();
  auto* const w = weights.mutable_data_ptr<Real>();
  const auto* const g = grad.const_data_ptr<Real>();
  auto *const m = first_moment.mutable_data_ptr<Real>(), *const v = second_moment.mutable_data_ptr<Real>();
  share_work((count + kBlock - 1) / kBlock, /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kBlock, last = std::min(end * kBlock, count);
    adamw_loop(w + first, g + first, m + first, v + first, last - first, factors);
  });
}

// Where there are no loops of ours.
void move_weights_elsewhere(const at::Tensor& weights, const at::Tensor& grad, const at::Tensor& first_moment,
                            const at::Tensor& second_moment, const AdamWFactors& factors) {
  if (factors.grad_scale != 1.0) grad.mul_(factors.grad_scale);
  first_moment.lerp_(grad, 1.0 - factors.beta1);
  second_moment.mul_(factors.beta2).addcmul_(grad, grad, 1.0 - factors.beta2);
  const auto denominator = second_moment.sqrt().mul_(factors.root_scale).add_(factors.eps);
  weights.sub_(weights, factors.decay).addcdiv_(first_moment, denominator, -factors.step_size);
}

}  // namespace

AdamW::AdamW(const model::Parameters& parameters, const OptimizerOptions& options)
    : AdamW(parameters, options, [](const model::ParameterSlot&) { return true; }) {}

AdamW::AdamW(const model::Parameters& parameters, const OptimizerOptions& options,
             const SlotFilter& is_chosen)
    : options_(options) {
  for (const bool decayed : {false, true}) {
    const auto is_of_part = [&](const model::ParameterSlot& slot) {
      return is_chosen(slot) && decays(slot, options) == decayed;
    };
    for (const auto& numbers : stretches(parameters, is_of_part)) {
      parts_.push_back({.numbers = numbers, .decays = decayed, .moments = {}});
    }
  }
  std::ranges::sort(parts_, {}, [](const Part& part) { return part.numbers.first; });
  int64_t count = 0;
  for (auto& part : parts_) {
    part.moments = {count, part.numbers.count};
    count += part.numbers.count;
  }
  first_moment_ = at::zeros({count}, parameters.flat().options());
  second_moment_ = at::zeros_like(first_moment_);
}

void AdamW::update(const at::Tensor& weights, const at::Tensor& grad, const UpdateFactors& of) {
  const auto t = static_cast<double>(of.num_updates);
  AdamWFactors factors{.grad_scale = of.grad_scale,
                       .beta1 = options_.beta1,
                       .beta2 = options_.beta2,
                       .step_size = of.lr / (1.0 - std::pow(options_.beta1, t)),
                       .root_scale = 1.0 / std::sqrt(1.0 - std::pow(options_.beta2, t)),
                       .eps = options_.eps};
  const auto type = weights.scalar_type();
  const auto move = !weights.is_cpu()     ? move_weights_elsewhere
                    : type == at::kDouble ? move_weights<double>
                                          : move_weights<float>;
  for (const auto& part : parts_) {
    factors.decay = part.decays ? of.lr * options_.weight_decay : 0.0;
    move(part.numbers.of(weights), part.numbers.of(grad), part.moments.of(first_moment_),
         part.moments.of(second_moment_), factors);
  }
}

std::vector<model::NamedTensor> AdamW::state() const {
  return {{"optimizer.first_moment", first_moment_}, {"optimizer.second_moment", second_moment_}};
}

}  // namespace sluice::optim
