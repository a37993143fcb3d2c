#include "optim/internal/loss_scale.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace sluice::optim {

bool LossScale::overflowed() {
  num_fitted_ = 0;
  if (scale_ <= 1.0) return false;
  scale_ /= 2.0;
  ++num_overflows_;
  return true;
}

void LossScale::fitted() {
  if (++num_fitted_ < kWindow) return;
  num_fitted_ = 0;
  scale_ = std::min(2.0 * scale_, kMost);
}

at::Tensor LossScale::state() const {
  return at::tensor({scale_, static_cast<double>(num_fitted_), static_cast<double>(num_overflows_)},
                    at::kDouble);
}

void LossScale::load(const at::Tensor& state) {
  const auto numbers = state.contiguous();
  const auto* number = numbers.const_data_ptr<double>();
  const auto is_count = [](double value, double end) {
    return value >= 0.0 && value < end && value == std::trunc(value);
  };
  require<DataError>(number[0] >= 1.0 && number[0] <= kMost &&
                         std::exp2(std::ilogb(number[0])) == number[0] && is_count(number[1], kWindow) &&
                         is_count(number[2], 0x1p53),
                     "Optimizer::load: a loss scale of ", number[0], " after ", number[1],
                     " gradients that fitted and ", number[2], " that did not");
  scale_ = number[0];
  num_fitted_ = static_cast<int64_t>(number[1]);
  num_overflows_ = static_cast<int64_t>(number[2]);
}

}  // namespace sluice::optim
