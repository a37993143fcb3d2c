#include "sft/example_order.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/philox.h"

namespace sluice::sft {
namespace {

using Place = ExampleOrder::Place;

std::vector<Place> draw(ExampleOrder& order, int64_t first, int64_t count) {
  std::vector<Place> places;
  for (int64_t i = first; i < first + count; ++i) places.push_back(order.at(i));
  return places;
}

TEST(ExampleOrder, ShufflesOneDatasetAnewEachEpoch) {
  ExampleOrder order({{.size = 5}}, /*seed=*/9);
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    const auto shuffled = shuffled_indices(5, 9, epoch);
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_EQ(order.at(static_cast<int64_t>(epoch * 5 + i)), (Place{0, shuffled[i]}));
    }
  }
}

// Standard deviations of 10,000 draws are at most 50.
TEST(ExampleOrder, MayGoByTheNumbersOfRowsInTheFirstEpoch) {
  ExampleOrder order({{.size = 5, .in_order = true}}, /*seed=*/9);
  const auto shuffled = shuffled_indices(5, 9, /*epoch=*/1);
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(order.at(i), (Place{0, i}));
    EXPECT_EQ(order.at(5 + i), (Place{0, shuffled[static_cast<size_t>(i)]}));
  }
}

TEST(ExampleOrder, DrawsDatasetsByTheirShareOfTheWeights) {
  ExampleOrder order({{.size = 70, .weight = 5}, {.size = 3000, .weight = 3}, {.size = 9, .weight = 2}}, 4);
  std::array<int, 3> drawn{};
  for (const auto& place : draw(order, 0, 10'000)) ++drawn[place.dataset];
  EXPECT_NEAR(drawn[0], 5000, 150);
  EXPECT_NEAR(drawn[1], 3000, 150);
  EXPECT_NEAR(drawn[2], 2000, 150);
}

TEST(ExampleOrder, SeesEachRowOfADatasetOnceBeforeAnyAgain) {
  ExampleOrder order({{.size = 6, .weight = 1}, {.size = 4, .weight = 2}}, /*seed=*/1);
  std::array<std::vector<int64_t>, 2> rows;
  for (const auto& place : draw(order, 0, 60)) rows[place.dataset].push_back(place.row);
  for (const size_t dataset : {0u, 1u}) {
    const size_t size = dataset == 0 ? 6 : 4;
    ASSERT_GE(rows[dataset].size(), 2 * size);
    for (size_t epoch = 0; epoch < 2; ++epoch) {
      const auto* begin = rows[dataset].data() + epoch * size;
      EXPECT_EQ(std::set<int64_t>(begin, begin + size).size(), size);
    }
  }
}

TEST(ExampleOrder, GoesOnWhereItIsAskedTo) {
  const std::vector<ExampleOrder::Dataset> datasets = {{.size = 8, .weight = 1}, {.size = 5, .weight = 0.5}};
  ExampleOrder whole(datasets, /*seed=*/3), resumed(datasets, /*seed=*/3), other(datasets, /*seed=*/4);
  const auto all = draw(whole, 0, 200);
  EXPECT_EQ(draw(resumed, 120, 80), std::vector<Place>(all.begin() + 120, all.end()));
  EXPECT_EQ(draw(resumed, 0, 200), all);  // and back
  EXPECT_NE(draw(other, 0, 200), all);
}

TEST(ExampleOrder, RefusesWhatCannotBeDrawnFrom) {
  EXPECT_THROW(ExampleOrder({}, 0), Error);
  EXPECT_THROW(ExampleOrder({{.size = 0}}, 0), Error);
  EXPECT_THROW(ExampleOrder({{.size = 1}, {.size = 1, .weight = 0}}, 0), Error);
  ExampleOrder order({{.size = 1}}, 0);
  EXPECT_THROW(order.at(-1), Error);
}

}  // namespace
}  // namespace sluice::sft
