// A long computation in parts.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::model {

// Calls f(first, count) for stretches of `step` that together are 0 .. total - 1.
template <class F>
void for_each_chunk(int64_t total, int64_t step, F f) {
  for (int64_t first = 0; first < total; first += step) f(first, std::min(step, total - first));
}

}  // namespace sluice::model
