// A tensor and what a file or a network calls it.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace sluice::model {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

}  // namespace sluice::model
