// Numbers of a step as SLUICE_FAIL wants them.
#pragma once

#include <ATen/ATen.h>

#include "base/failpoint.h"

namespace sluice::learner::internal {

// The tensor itself, or one whose first number is the failpoint's; that one has no gradient.
inline at::Tensor with_injected(Failpoint point, const at::Tensor& numbers) {
  const auto value = injected(point);
  if (!value || numbers.numel() == 0) return numbers;
  const auto first = at::arange(numbers.numel(), numbers.options().dtype(at::kLong).requires_grad(false));
  return numbers.masked_fill(first.eq(0).view(numbers.sizes()), *value);
}

}  // namespace sluice::learner::internal
