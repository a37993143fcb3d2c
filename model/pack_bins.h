// Which items go into which pack, best fit decreasing (spec section 11.3), and to which rank.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

namespace sluice::model {

// Indices of each bin. Longer items first, then lower index; the tightest bin that fits, the earliest on
// ties. An item longer than `capacity` gets a bin of its own.
std::vector<std::vector<int64_t>> pack_best_fit(const std::vector<int64_t>& lengths, int64_t capacity);

// Items of one pack, in order, and the rank of a learner that it is for.
struct RankPack {
  int64_t rank = 0;
  std::vector<int64_t> items;
};
// Shares of about equal length for so many ranks, each packed by itself. Longer items first, then lower
// index, go to the rank that has least, the first on ties.
std::vector<RankPack> pack_for_ranks(const std::vector<int64_t>& lengths, int64_t capacity, int64_t ranks);

// The last of what was packed that is the rank's, as `rank_of` says; null where none is.
template <class Pack, class RankOf>
const Pack* last_of(const std::vector<Pack>& packs, int64_t rank, RankOf rank_of) {
  const auto found = std::find_if(packs.rbegin(), packs.rend(),
                                  [&](const Pack& pack) { return std::invoke(rank_of, pack) == rank; });
  return found == packs.rend() ? nullptr : &*found;
}

// How many fewer of the packs are this rank's than the rank's that has most.
template <class Pack, class RankOf>
int64_t lacked_by(const std::vector<Pack>& packs, int64_t rank, RankOf rank_of) {
  std::map<int64_t, int64_t> counts;
  int64_t most = 0;
  for (const auto& pack : packs) most = std::max(most, ++counts[std::invoke(rank_of, pack)]);
  return most - counts[rank];
}

}  // namespace sluice::model
