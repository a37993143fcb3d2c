#include "base/epoch_order.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/philox.h"

namespace sluice {
namespace {

TEST(EpochOrder, IsOneShuffleAfterTheOtherAndCanBeEnteredAnywhere) {
  EpochOrder order(5, /*seed=*/7), other(5, /*seed=*/7);
  for (int64_t ordinal = 0; ordinal < 15; ++ordinal) {
    const auto epoch = shuffled_indices(5, 7, static_cast<uint64_t>(ordinal / 5));
    EXPECT_EQ(order.at(ordinal), epoch[static_cast<size_t>(ordinal % 5)]);
  }
  EXPECT_EQ(other.at(12), order.at(12));
  EXPECT_EQ(order.at(1), other.at(1));  // back to an epoch that is no longer kept
}

TEST(EpochOrder, MayKeepTheFirstEpochInOrderAndShufflesTheOthers) {
  EpochOrder shuffled(5, /*seed=*/7), curriculum(5, /*seed=*/7, /*first_in_order=*/true);
  for (int64_t ordinal = 0; ordinal < 5; ++ordinal) EXPECT_EQ(curriculum.at(ordinal), ordinal);
  for (int64_t ordinal = 5; ordinal < 15; ++ordinal) EXPECT_EQ(curriculum.at(ordinal), shuffled.at(ordinal));
  EXPECT_EQ(curriculum.at(3), 3);
}

TEST(EpochOrder, RefusesAPlaceBeforeTheFirstAndNothingToOrder) {
  EXPECT_THROW(EpochOrder(5, 7).at(-1), Error);
  EXPECT_THROW(EpochOrder(0, 7).at(0), Error);
}

}  // namespace
}  // namespace sluice
