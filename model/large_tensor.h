// Memory for numbers that are read over and over.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include <cstdint>

namespace sluice::model {

// Numbers [count], not initialised. On the CPU, many of them lie on large pages where the system has some:
// the processor's search for small ones was an eighth of a decoding step and a sixth of an optimizer's.
at::Tensor large_tensor(int64_t count, const at::TensorOptions& options);

}  // namespace sluice::model
