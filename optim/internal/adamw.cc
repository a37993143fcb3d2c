#include "optim/internal/adamw.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/shared_work.h"
#include "model/large_tensor.h"
#include "optim/internal/flat_loops.h"

namespace sluice::optim {
namespace {

constexpr int64_t kMostNumbers = 1 << 16;  // of a part on the CPU, where threads share them

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
      const int64_t most = parameters.flat().is_cpu() ? kMostNumbers : numbers.count;
      for (int64_t first = 0; first < numbers.count; first += most) {
        const int64_t count = std::min(most, numbers.count - first);
        parts_.push_back(
            {.numbers = {numbers.first + first, count}, .decays = decayed, .moments = {0, count}});
      }
    }
  }
  std::ranges::sort(parts_, {}, [](const Part& part) { return part.numbers.first; });
  int64_t count = 0;
  for (auto& part : parts_) {
    part.moments.first = count;
    count += part.numbers.count;
  }
  for (auto* const moment : {&first_moment_, &second_moment_})
    *moment = model::large_tensor(count, parameters.flat().options()).zero_();
}

void AdamW::update(const at::Tensor& weights, const at::Tensor& grad, const UpdateFactors& of) {
  const auto t = static_cast<double>(of.num_updates);
  const AdamWFactors factors{.grad_scale = of.grad_scale,
                             .decay = of.lr * options_.weight_decay,
                             .beta1 = options_.beta1,
                             .beta2 = options_.beta2,
                             .step_size = of.lr / (1.0 - std::pow(options_.beta1, t)),
                             .root_scale = 1.0 / std::sqrt(1.0 - std::pow(options_.beta2, t)),
                             .eps = options_.eps};
  if (!weights.is_cpu()) return move_elsewhere(weights, grad, factors);
  weights.scalar_type() == at::kDouble ? move<double>(weights, grad, factors)
                                       : move<float>(weights, grad, factors);
}

template <class Real>
void AdamW::move(const at::Tensor& weights, const at::Tensor& grad, const AdamWFactors& factors) {
  auto *const w = weights.mutable_data_ptr<Real>(), *const g = grad.mutable_data_ptr<Real>();
  auto* const m = first_moment_.mutable_data_ptr<Real>();
  auto* const v = second_moment_.mutable_data_ptr<Real>();
  share_work(std::ssize(parts_), /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (const auto& part : std::span(parts_).subspan(begin, end - begin)) {
      auto of_part = factors;
      if (!part.decays) of_part.decay = 0.0;
      const auto [first, count] = part.numbers;
      adamw_loop(w + first, g + first, m + part.moments.first, v + part.moments.first, count, of_part);
    }
  });
}

void AdamW::move_elsewhere(const at::Tensor& weights, const at::Tensor& grad, const AdamWFactors& factors) {
  for (const auto& part : parts_) {
    const auto own = part.numbers.of(grad), m = part.moments.of(first_moment_),
               v = part.moments.of(second_moment_);
    if (factors.grad_scale != 1.0) own.mul_(factors.grad_scale);
    m.lerp_(own, 1.0 - factors.beta1);
    v.mul_(factors.beta2).addcmul_(own, own, 1.0 - factors.beta2);
    const auto denominator = v.sqrt().mul_(factors.root_scale).add_(factors.eps);
    const auto moved = part.numbers.of(weights);
    moved.sub_(moved, part.decays ? factors.decay : 0.0).addcdiv_(m, denominator, -factors.step_size);
    own.zero_();
  }
}

std::vector<model::NamedTensor> AdamW::state() const {
  return {{"optimizer.first_moment", first_moment_}, {"optimizer.second_moment", second_moment_}};
}

}  // namespace sluice::optim
