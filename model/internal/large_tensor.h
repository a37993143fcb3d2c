// Memory for numbers that are read over and over.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sluice::model {

// Numbers [count] on the CPU, not initialised. Many of them lie on large pages where the system has some: an
// eighth of a decoding step was the processor's search for small ones.
at::Tensor large_tensor(int64_t count, at::ScalarType type);

}  // namespace sluice::model
