#include "model/pack_bins.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "base/error.h"

namespace sluice::model {
namespace {

std::vector<int64_t> longest_first(const std::vector<int64_t>& lengths) {
  std::vector<int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return lengths[static_cast<size_t>(a)] > lengths[static_cast<size_t>(b)];
  });
  return order;
}

// Each in order.
std::vector<std::vector<int64_t>> share_out(const std::vector<int64_t>& lengths, int64_t shares) {
  require(shares > 0, "pack_for_ranks: ", shares, " ranks");
  std::vector<std::vector<int64_t>> items(static_cast<size_t>(shares));
  std::vector<int64_t> taken(items.size(), 0);
  for (const int64_t item : longest_first(lengths)) {
    const auto least = std::ranges::min_element(taken);
    *least += lengths[static_cast<size_t>(item)];
    items[static_cast<size_t>(least - taken.begin())].push_back(item);
  }
  for (auto& share : items) std::ranges::sort(share);
  return items;
}

}  // namespace

std::vector<std::vector<int64_t>> pack_best_fit(const std::vector<int64_t>& lengths, int64_t capacity) {
  require(capacity > 0, "pack_best_fit: a capacity of ", capacity);
  const auto order = longest_first(lengths);
  const auto length_of = [&](int64_t item) { return lengths[static_cast<size_t>(item)]; };

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

std::vector<RankPack> pack_for_ranks(const std::vector<int64_t>& lengths, int64_t capacity, int64_t ranks) {
  std::vector<RankPack> packs;
  int64_t rank = 0;
  for (const auto& own : share_out(lengths, ranks)) {
    std::vector<int64_t> own_lengths;
    for (const int64_t item : own) own_lengths.push_back(lengths[static_cast<size_t>(item)]);
    for (const auto& bin : pack_best_fit(own_lengths, capacity)) {
      auto& pack = packs.emplace_back(RankPack{.rank = rank, .items = {}});
      for (const int64_t place : bin) pack.items.push_back(own[static_cast<size_t>(place)]);
    }
    ++rank;
  }
  return packs;
}

}  // namespace sluice::model
