#include "model/pack_bins.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/spec_example.h"

namespace sluice::model {
namespace {

using Bins = std::vector<std::vector<int64_t>>;

TEST(PackBins, GivesTheBinsOfTheSpecification) {
  const Json& example = spec_example("packing_best_fit_decreasing");

  const auto bins = pack_best_fit(example["inputs"]["lengths"].get<std::vector<int64_t>>(),
                                  example["hyperparameters"]["capacity"].get<int64_t>());

  EXPECT_EQ(bins, example["expected"]["bins"].get<Bins>());
}

TEST(PackBins, TakesTheTightestBinAndTheEarliestOfEquals) {
  // 6 and 6 open two bins with 4 left, 7 one with 3 left: 3 goes there, 4 to the earlier of the others.
  EXPECT_EQ(pack_best_fit({6, 6, 7, 3, 4}, 10), (Bins{{2, 3}, {0, 4}, {1}}));
}

TEST(PackBins, GivesAnItemThatIsTooLongABinOfItsOwn) {
  EXPECT_EQ(pack_best_fit({2, 15, 3}, 10), (Bins{{1}, {2, 0}}));
}

TEST(PackBins, KeepsItemsWithoutLengthAndMakesNoBinOfNothing) {
  EXPECT_EQ(pack_best_fit({0, 0}, 4), (Bins{{0, 1}}));
  EXPECT_EQ(pack_best_fit({}, 4), Bins{});
}

TEST(PackBins, GivesEachRankAboutAsMuch) {
  // 7 to the first, 6 to the second, 5 to the second as it has less, 4 and 3 to the first, each packed to 10.
  const auto packs = pack_for_ranks({3, 4, 5, 6, 7}, 10, /*ranks=*/2);
  Bins items;
  std::vector<int64_t> ranks;
  for (const auto& pack : packs) {
    items.push_back(pack.items);
    ranks.push_back(pack.rank);
  }
  EXPECT_EQ(ranks, (std::vector<int64_t>{0, 0, 1, 1}));
  EXPECT_EQ(items, (Bins{{4, 0}, {1}, {3}, {2}}));
  EXPECT_EQ(pack_for_ranks({6, 6, 7, 3, 4}, 10, /*ranks=*/1).front().items,
            pack_best_fit({6, 6, 7, 3, 4}, 10).front());
  EXPECT_THROW(pack_for_ranks({1}, 10, /*ranks=*/0), Error);
}

TEST(PackBins, RefusesACapacityOfZeroAndANegativeLength) {
  EXPECT_THROW(pack_best_fit({1}, 0), Error);
  EXPECT_THROW(pack_best_fit({-1}, 4), Error);
}

}  // namespace
}  // namespace sluice::model
