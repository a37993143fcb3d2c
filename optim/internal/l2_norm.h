// The length of a vector, the same bits whatever the number of threads.
#pragma once

#include <ATen/core/Tensor.h>

namespace sluice::optim {

// `flat` [n] of a floating type; a scalar of float64 on the same device.
at::Tensor l2_norm(const at::Tensor& flat);

}  // namespace sluice::optim
