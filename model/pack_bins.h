// Which items go into which pack: best fit decreasing (spec section 11.3).
#pragma once

#include <cstdint>
#include <vector>

namespace sluice::model {

// Indices of each bin. Longer items first, then lower index; the tightest bin that fits, the earliest on
// ties. An item longer than `capacity` gets a bin of its own.
std::vector<std::vector<int64_t>> pack_best_fit(const std::vector<int64_t>& lengths, int64_t capacity);

}  // namespace sluice::model
