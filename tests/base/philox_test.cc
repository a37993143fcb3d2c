#include "base/philox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"

namespace sluice {
namespace {

using Block = std::array<uint32_t, 4>;

// The known answers published with the paper's code.
TEST(Philox, GivesThePublishedBlocks) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Changing this layout changes every run that was ever seeded.
TEST(Philox, LaysTheArgumentsOutAsDocumented) {
  const uint64_t bits =
      random_bits(0x1111111122222222, RandomUse::Init, 0x0033333344444444, 0x5555555566666666);

  // Init is 3, so the top word of `a` is 0x00333333 ^ 0x03000000.
  const auto block = philox4x32({0x66666666, 0x55555555, 0x44444444, 0x03333333}, {0x22222222, 0x11111111});
  EXPECT_EQ(bits, block[0] | (uint64_t{block[1]} << 32));
}

TEST(Philox, UsesOfOneSeedShareNoNumber) {
  std::set<uint64_t> seen;
  for (const auto use : {RandomUse::Sampling, RandomUse::Shuffle, RandomUse::Init, RandomUse::Data}) {
    for (uint64_t a = 0; a < 10; ++a) {
      for (uint64_t b = 0; b < 10; ++b) seen.insert(random_bits(7, use, a, b));
    }
  }
  EXPECT_EQ(seen.size(), 400u);
}

TEST(Philox, AUniformIsTheTop53BitsOfItsBlock) {
  const uint64_t bits = random_bits(5, RandomUse::Sampling, 9, (uint64_t{2} << 32) | 3);

  EXPECT_EQ(random_uniform(5, RandomUse::Sampling, /*stream=*/9, /*sample=*/2, /*position=*/3),
            static_cast<double>(bits >> 11) / 9007199254740992.0);
}

TEST(Philox, UniformsFillTheUnitIntervalEvenly) {
  std::array<int, 10> bins{};
  for (uint64_t position = 0; position < 10'000; ++position) {
    const double u = random_uniform(1, RandomUse::Sampling, 0, 0, position);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++bins[static_cast<size_t>(u * 10)];
  }
  for (const int count : bins) EXPECT_NEAR(count, 1000, 150);  // five standard deviations of 30
}

TEST(Philox, RefusesASampleThatDoesNotFit) {
  EXPECT_THROW(random_uniform(1, RandomUse::Sampling, 0, uint64_t{1} << 32, 0), Error);
  EXPECT_THROW(random_uniform(1, RandomUse::Sampling, 0, 0, uint64_t{1} << 32), Error);
}

TEST(Shuffle, IsAPermutationThatHangsOnSeedAndEpochAlone) {
  const auto order = shuffled_indices(1000, 3, 4);

  EXPECT_EQ(order, shuffled_indices(1000, 3, 4));
  EXPECT_NE(order, shuffled_indices(1000, 3, 5));
  EXPECT_NE(order, shuffled_indices(1000, 4, 4));
  EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 1000u);
  EXPECT_EQ(*std::max_element(order.begin(), order.end()), 999);
}

TEST(Shuffle, GivesEveryOrderItsShare) {
  std::map<std::vector<int64_t>, int> seen;
  for (uint64_t epoch = 0; epoch < 6000; ++epoch) ++seen[shuffled_indices(3, 11, epoch)];

  EXPECT_EQ(seen.size(), 6u);
  for (const auto& [order, count] : seen) EXPECT_NEAR(count, 1000, 150);
}

TEST(Shuffle, OfNothingAndOfOneIsTheOnlyOrder) {
  EXPECT_TRUE(shuffled_indices(0, 1, 1).empty());
  EXPECT_EQ(shuffled_indices(1, 1, 1), std::vector<int64_t>{0});
  EXPECT_THROW(shuffled_indices(-1, 1, 1), Error);
}

}  // namespace
}  // namespace sluice
