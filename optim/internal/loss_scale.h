// What a loss is multiplied by so that float16 keeps the small numbers of its gradient (Micikevicius and
// others 2018).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sluice::optim {

// A power of two, which changes no digit. It halves with each gradient that is not finite, down to 1, and
// doubles after kWindow finite ones in a row, up to kMost.
class LossScale {
 public:
  static constexpr double kFirst = 0x1p16, kMost = 0x1p24;
  static constexpr int64_t kWindow = 2000;

  double value() const { return scale_; }
  // Of an update's gradient. Returns whether it is to blame: false where it could not be any lower, and such
  // a gradient is not finite for another reason.
  bool overflowed();
  void fitted();
  int64_t num_overflows() const { return num_overflows_; }

  // [3] float64: scale, finite gradients in a row, overflows. load() throws DataError for numbers that it
  // never gives.
  at::Tensor state() const;
  void load(const at::Tensor& state);

 private:
  double scale_ = kFirst;
  int64_t num_fitted_ = 0;  // in a row
  int64_t num_overflows_ = 0;
};

}  // namespace sluice::optim
