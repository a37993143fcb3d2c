// Bytes to publish that mean nothing.
#pragma once

#include <cstring>
#include <string>
#include <utility>

#include "transport/shared_weights.h"

namespace sluice::transport {

inline WeightSource opaque_weights(std::string bytes) {
  const auto size = bytes.size();
  return {.layout = "opaque", .bytes = size, .write = [bytes = std::move(bytes)](void* to) {
            std::memcpy(to, bytes.data(), bytes.size());
          }};
}

}  // namespace sluice::transport
