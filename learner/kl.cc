#include "learner/kl.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "learner/internal/log_ratio.h"

namespace sluice::learner {
namespace {

constexpr double kMaxLowVarKl = 10.0;
constexpr double kMaxRelativeError = 0.2;  // of the controller, in one update

// The value of one tensor with the gradient of another.
at::Tensor straight_through(const at::Tensor& value, const at::Tensor& gradient) {
  return gradient - gradient.detach() + value.detach();
}

}  // namespace

at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& ref_logprobs, KlEstimator estimator,
                       const at::Tensor& ratio) {
  const auto d = logprobs - ref_logprobs.detach();
  switch (estimator) {
    case KlEstimator::K1:
      return d;
    case KlEstimator::K2:
      return d.square() * 0.5;
    case KlEstimator::K3:
      return (-d).exp() - 1.0 + d;
    case KlEstimator::LowVar: {
      const auto c = internal::bounded(-d);
      return (c.exp() - c - 1.0).clamp(-kMaxLowVarKl, kMaxLowVarKl);
    }
    case KlEstimator::Abs:
      return d.abs();
    case KlEstimator::K1Plus:
      return straight_through(d, kl_estimate(logprobs, ref_logprobs, KlEstimator::K2));
    case KlEstimator::K3Plus:
      return straight_through(kl_estimate(logprobs, ref_logprobs, KlEstimator::LowVar),
                              kl_estimate(logprobs, ref_logprobs, KlEstimator::K2));
    case KlEstimator::K3Is:
      require(ratio.defined() && ratio.sizes() == d.sizes(), "kl_estimate: K3Is has a ratio of ",
              ratio.defined() ? ratio.sizes() : at::IntArrayRef(), " for logprobs of ", d.sizes());
      return ratio * kl_estimate(logprobs, ref_logprobs, KlEstimator::K3);
  }
  fail("kl_estimate: unknown estimator ", static_cast<int>(estimator));
}

at::Tensor exact_kl(const at::Tensor& logits, const at::Tensor& ref_logits) {
  require(logits.dim() == 2 && logits.sizes() == ref_logits.sizes(), "exact_kl: logits are ", logits.sizes(),
          ", those of the reference ", ref_logits.sizes());
  const auto logprobs = logits.log_softmax(-1), ref_logprobs = ref_logits.log_softmax(-1);
  return (logprobs.exp() * (logprobs - ref_logprobs)).sum(-1);
}

void KlController::update(double kl, int64_t num_sequences) {
  require(target > 0.0 && horizon > 0.0, "KlController: a target of ", target, ", a horizon of ", horizon);
  require(std::isfinite(kl), "KlController: a KL of ", kl);
  const double error = std::clamp(kl / target - 1.0, -kMaxRelativeError, kMaxRelativeError);
  coefficient *= 1.0 + error * static_cast<double>(num_sequences) / horizon;
}

}  // namespace sluice::learner
