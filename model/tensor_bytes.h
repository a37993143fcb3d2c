// A tensor as what it is in memory, to be hashed or written.
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>

namespace sluice::model {

// Of a contiguous tensor on the CPU, which is to outlive them.
inline std::string_view bytes_of(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace sluice::model
