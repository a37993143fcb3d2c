// Which items go into which pack, best fit decreasing (spec section 11.3), and to which rank.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice::model {

// Indices of each bin. Longer items first, then lower index; the tightest bin that fits, the earliest on
// ties. An item longer than `capacity` gets a bin of its own.
std::vector<std::vector<int64_t>> pack_best_fit(const std::vector<int64_t>& lengths, int64_t capacity);

// Indices of each of so many shares, about equal in length and each in order: longer items first, then lower
// index, to the share that has least, the first on ties.
std::vector<std::vector<int64_t>> share_out(const std::vector<int64_t>& lengths, int64_t shares);

}  // namespace sluice::model
