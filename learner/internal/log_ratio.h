// Ratios of probabilities from differences of log-probs.
#pragma once

#include <ATen/ATen.h>

namespace sluice::learner::internal {

inline constexpr double kMaxLogRatio = 20.0;  // exp() of more says nothing and overflows in float32 at 88

inline at::Tensor bounded(const at::Tensor& log_ratio) {
  return log_ratio.clamp(-kMaxLogRatio, kMaxLogRatio);
}
inline at::Tensor ratio_of(const at::Tensor& log_ratio) { return bounded(log_ratio).exp(); }

}  // namespace sluice::learner::internal
