// How much of one sequence stands in another, in order.
#pragma once

#include <cstdint>
#include <span>

namespace sluice::rewards::internal {

// The length of their longest common subsequence, by bits (Hyyro 2004): |a| * |b| / 64 steps. Ids are not
// negative.
int64_t longest_common_subsequence(std::span<const int32_t> a, std::span<const int32_t> b);

}  // namespace sluice::rewards::internal
