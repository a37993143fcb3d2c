// Finds the steps whose gradient norm is far above the usual one.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sluice::optim {

// The usual norm is the mean of the norms before; once there are `window` of them, each moves it by a
// window-th of the difference. A spike is a norm above `ratio` times that, and counts as no more than the
// bound: one hardly moves it, and a rise that lasts is followed within a few steps. A norm of 0, where there
// was nothing to learn from, says nothing and is left out; so is one that is not finite, by the caller.
class SpikeGuard {
 public:
  static constexpr int64_t kFewest = 10;  // norms to have seen before any is a spike

  SpikeGuard(double ratio, int64_t window) : ratio_(ratio), window_(window) {}

  // Whether it is one, after which it is one of the norms before.
  bool is_spike(double norm);

  int64_t num_spikes() const { return num_spikes_; }
  double usual_norm() const { return usual_norm_; }

  // [3] float64: usual norm, norms seen, spikes. load() throws DataError for numbers that it never gives.
  at::Tensor state() const;
  void load(const at::Tensor& state);

 private:
  const double ratio_;
  const int64_t window_;
  double usual_norm_ = 0.0;
  int64_t num_norms_ = 0, num_spikes_ = 0;
};

}  // namespace sluice::optim
