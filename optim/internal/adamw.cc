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
  if (!weights.is_cpu()) return move_elsewhere(weights, grad, of);
  const auto t = static_cast<double>(of.num_updates);
  const AdamWFactors factors{.grad_scale = of.grad_scale,
                             .decay = of.lr * options_.weight_decay,
                             .beta1 = options_.beta1,
                             .beta2 = options_.beta2,
                             .step_size = of.lr / (1.0 - std::pow(options_.beta1, t)),
                             .root_scale = 1.0 / std::sqrt(1.0 - std::pow(options_.beta2, t)),
                             .eps = options_.eps};
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

void AdamW::move_elsewhere(const at::Tensor& weights, const at::Tensor& grad, const UpdateFactors& of) {
  for (const bool decays : {false, true}) {
    FusedStretches stretches;
    for (const auto& part : parts_) {
      if (part.decays != decays) continue;
      stretches.weights.push_back(part.numbers.of(weights));
      stretches.grads.push_back(part.numbers.of(grad));
      stretches.first_moments.push_back(part.moments.of(first_moment_));
      stretches.second_moments.push_back(part.moments.of(second_moment_));
    }
    fused_adamw(stretches, decays ? options_.weight_decay : 0.0, of, options_);
    for (const auto& own : stretches.grads) own.zero_();
  }
}

void fused_adamw(const FusedStretches& stretches, double weight_decay, const UpdateFactors& of,
                 const OptimizerOptions& options) {
  if (stretches.weights.empty()) return;
  const auto scalars = stretches.weights.front().options().dtype(at::kFloat);
  // It divides by the scale, and counts updates in a tensor for each of the weights.
  const auto scale = at::scalar_tensor(1.0 / of.grad_scale, scalars);
  const std::vector<at::Tensor> updates(stretches.weights.size(),
                                        at::scalar_tensor(static_cast<double>(of.num_updates), scalars));
  at::_fused_adamw_(stretches.weights, stretches.grads, stretches.first_moments, stretches.second_moments,
                    /*max_exp_avg_sqs=*/{}, updates, of.lr, options.beta1, options.beta2, weight_decay,
                    options.eps, /*amsgrad=*/false, /*maximize=*/false, scale, /*found_inf=*/{});
}

std::vector<model::NamedTensor> AdamW::state() const {
  return {{"optimizer.first_moment", first_moment_}, {"optimizer.second_moment", second_moment_}};
}

}  // namespace sluice::optim
