#include "rewards/internal/common_subsequence.h"

#include <algorithm>
#include <vector>

namespace sluice::rewards::internal {

int64_t longest_common_subsequence(std::span<const int32_t> a, std::span<const int32_t> b) {
  int32_t last = -1;
  for (const int32_t id : b) last = std::max(last, id);
  std::vector<std::vector<size_t>> places(static_cast<size_t>(last + 1));  // of each id in b
  for (size_t i = 0; i < b.size(); ++i) places[static_cast<size_t>(b[i])].push_back(i);

  // Bit i is 0 where the subsequence grows at b[i].
  std::vector<uint64_t> row(b.size() / 64 + 1, ~uint64_t{0}), matches(row.size(), 0);
  for (const int32_t id : a) {
    if (id > last || places[static_cast<size_t>(id)].empty()) continue;
    for (const size_t i : places[static_cast<size_t>(id)]) matches[i / 64] |= uint64_t{1} << (i % 64);
    uint64_t carry = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      const uint64_t met = row[i] & matches[i];
      uint64_t sum = 0;
      const bool over = __builtin_add_overflow(row[i], met, &sum);
      const bool over_again = __builtin_add_overflow(sum, carry, &sum);
      carry = over || over_again ? 1 : 0;
      row[i] = sum | (row[i] & ~matches[i]);
      matches[i] = 0;
    }
  }
  int64_t length = 0;
  for (size_t i = 0; i < b.size(); ++i) length += (row[i / 64] >> (i % 64)) & 1 ? 0 : 1;
  return length;
}

}  // namespace sluice::rewards::internal
