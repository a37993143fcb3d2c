#include "transport/rank_sums.h"

namespace sluice::transport {

std::vector<double> sum_over(Collective& ranks, const std::vector<double>& own) {
  const auto all = gather(ranks, own);
  auto sums = all.front();
  for (size_t rank = 1; rank < all.size(); ++rank) {
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += all[rank][i];
  }
  return sums;
}

}  // namespace sluice::transport
