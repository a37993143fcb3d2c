#include "model/packed_batch.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace sluice::model {
namespace {

using Tokens = std::vector<int32_t>;

TEST(PackedBatch, PositionsRestartAndGoOnAfterAPrefix) {
  PackedBatchBuilder builder;
  EXPECT_EQ(builder.add(Tokens{5, 6, 2}), 0);
  EXPECT_EQ(builder.add(Tokens{7, 2}, 0), 1);
  EXPECT_EQ(builder.add(Tokens{8}), 2);
  EXPECT_EQ(builder.add(Tokens{9, 4}, kNoPrefix, 11), 3);
  const auto batch = builder.build(at::kCPU);
  EXPECT_TRUE(at::equal(batch.tokens, at::tensor({5, 6, 2, 7, 2, 8, 9, 4}, at::kLong)));
  EXPECT_TRUE(at::equal(batch.positions, at::tensor({0, 1, 2, 3, 4, 0, 11, 12}, at::kLong)));
  EXPECT_EQ(batch.starts, (std::vector<int64_t>{0, 3, 5, 6, 8}));
  EXPECT_EQ(batch.prefix, (std::vector<int64_t>{-1, 0, -1, -1}));
  EXPECT_EQ(builder.row_of(1, 1), 4);
}

TEST(PackedBatch, RefusesAPrefixThatHasOneOrDoesNotStandBefore) {
  PackedBatchBuilder builder;
  builder.add(Tokens{1});
  builder.add(Tokens{2}, 0);
  EXPECT_THROW(builder.add(Tokens{3}, 1), Error);
  EXPECT_THROW(builder.add(Tokens{3}, 2), Error);
  EXPECT_THROW(builder.add(Tokens{3}, 0, 4), Error);
}

TEST(PackedBatch, RefusesARowOfNoToken) {
  PackedBatchBuilder builder;
  builder.add(Tokens{1, 2});
  EXPECT_THROW(builder.row_of(0, 2), Error);
  EXPECT_THROW(builder.row_of(1, 0), Error);
}

}  // namespace
}  // namespace sluice::model
