// The weights of one policy version, in the layout the kernels use.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::model {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

// Immutable once made: `flat` is a copy, not a view of what is being trained.
struct WeightSnapshot {
  int64_t version = 0;
  at::Tensor flat;   // [num_parameters] float32, contiguous, on the CPU
  std::string hash;  // SHA-256 of flat's bytes
};

}  // namespace sluice::model
