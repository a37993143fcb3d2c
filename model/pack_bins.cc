#include "model/pack_bins.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "base/error.h"

namespace sluice::model {

std::vector<std::vector<int64_t>> pack_best_fit(const std::vector<int64_t>& lengths, int64_t capacity) {
  require(capacity > 0, "pack_best_fit: a capacity of ", capacity);
  std::vector<int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  const auto length_of = [&](int64_t item) { return lengths[static_cast<size_t>(item)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return length_of(a) > length_of(b); });

  std::vector<std::vector<int64_t>> bins;
  std::set<std::pair<int64_t, size_t>> open;  // (room left, bin): the tightest that fits is a lower bound
  for (const int64_t item : order) {
    const int64_t length = length_of(item);
    require(length >= 0, "pack_best_fit: item ", item, " has length ", length);
    auto [room, bin] = std::pair{capacity, bins.size()};
    if (const auto fit = open.lower_bound({length, 0}); fit != open.end()) {
      std::tie(room, bin) = *fit;
      open.erase(fit);
    } else {
      bins.emplace_back();
    }
    bins[bin].push_back(item);
    if (room > length) open.insert({room - length, bin});
  }
  return bins;
}

}  // namespace sluice::model
