#include "buffers/rollout_buffer.h"

#include <gtest/gtest.h>

#include "tests/buffers/group_cases.h"

namespace sluice::buffers {
namespace {

TEST(RolloutBuffer, GivesGroupsInTheOrderAskedFor) {
  RolloutBuffer buffer(4);
  for (const uint64_t id : {7u, 2u, 5u}) buffer.put(small_group(id));
  EXPECT_EQ(buffer.room(), 1);
  EXPECT_EQ(buffer.num_tokens(), 9);

  const auto taken = buffer.take({5, 7});

  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].group, 5u);
  EXPECT_EQ(taken[1].group, 7u);
  EXPECT_EQ(buffer.size(), 1);
  EXPECT_EQ(buffer.num_tokens(), 3);
}

TEST(RolloutBuffer, CopiesWhatStays) {
  RolloutBuffer buffer(4);
  for (const uint64_t id : {7u, 2u}) buffer.put(small_group(id));

  const auto copies = buffer.copy({7, 2});

  EXPECT_EQ(encode_group(copies.at(0)), encode_group(small_group(7)));
  EXPECT_EQ(copies.at(1).group, 2u);
  EXPECT_EQ(buffer.size(), 2);
  EXPECT_THROW(buffer.copy({7, 9}), Error);
}

TEST(RolloutBuffer, RefusesWhatCreditsAndLedgerShouldHavePrevented) {
  RolloutBuffer buffer(2);
  buffer.put(small_group(1));
  EXPECT_THROW(buffer.put(small_group(1)), Error);
  buffer.put(small_group(2));
  EXPECT_THROW(buffer.put(small_group(3)), Error);
  EXPECT_EQ(buffer.num_tokens(), 6);

  EXPECT_THROW(buffer.take({1, 9}), Error);
  EXPECT_THROW(buffer.take({1, 1}), Error);
  EXPECT_EQ(buffer.size(), 2);  // nothing was taken
  EXPECT_THROW(RolloutBuffer(0), Error);
}

TEST(RolloutBuffer, ErasesWhatIsThereAndNothingElse) {
  RolloutBuffer buffer(2);
  buffer.put(small_group(1));

  buffer.erase(9);
  EXPECT_EQ(buffer.size(), 1);
  buffer.erase(1);
  EXPECT_EQ(buffer.size(), 0);
  EXPECT_EQ(buffer.num_tokens(), 0);
}

}  // namespace
}  // namespace sluice::buffers
