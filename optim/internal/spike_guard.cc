#include "optim/internal/spike_guard.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace sluice::optim {

bool SpikeGuard::is_spike(double norm) {
  if (norm == 0.0) return false;
  const double bound = num_norms_ < kFewest ? norm : ratio_ * usual_norm_;
  const bool spike = norm > bound;
  num_spikes_ += spike ? 1 : 0;
  ++num_norms_;
  usual_norm_ += (std::min(norm, bound) - usual_norm_) / static_cast<double>(std::min(num_norms_, window_));
  return spike;
}

at::Tensor SpikeGuard::state() const {
  return at::tensor({usual_norm_, static_cast<double>(num_norms_), static_cast<double>(num_spikes_)},
                    at::kDouble);
}

void SpikeGuard::load(const at::Tensor& state) {
  const auto numbers = state.contiguous();
  const auto* number = numbers.const_data_ptr<double>();
  const auto is_count = [](double value) { return value >= 0.0 && value < 0x1p53; };
  require<DataError>(std::isfinite(number[0]) && number[0] >= 0.0 && is_count(number[1]) &&
                         is_count(number[2]) && number[2] <= number[1],
                     "Optimizer::load: a usual gradient norm of ", number[0], " after ", number[1],
                     " norms of which ", number[2], " were spikes");
  usual_norm_ = number[0];
  num_norms_ = static_cast<int64_t>(number[1]);
  num_spikes_ = static_cast<int64_t>(number[2]);
}

}  // namespace sluice::optim
