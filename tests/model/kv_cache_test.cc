#include "model/kv_cache.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace sluice::model {
namespace {

KvCache small_cache() {
  return KvCache({.layout = CacheLayout(2, {{"k", 3}, {"v", 2}}), .num_blocks = 4, .block_size = 2},
                 at::kCPU);
}

TEST(KvCache, APlaceLiesInTheBlockOfItsSequence) {
  const auto cache = small_cache();
  EXPECT_EQ(cache.slot({3, 1}, 1), 7);
  EXPECT_EQ(cache.slot({3, 1}, 2), 2);
  EXPECT_THROW(cache.slot({3, 1}, 4), Error);
  EXPECT_THROW(cache.slot({4}, 0), Error);
}

TEST(KvCache, CopiesABlockInEveryLayer) {
  auto cache = small_cache();
  cache.rows(0, "k").copy_(at::arange(24, at::kFloat).view({8, 3}));
  cache.rows(1, "v").copy_(at::arange(16, at::kFloat).view({8, 2}));
  cache.copy_block(1, 3);  // slots 2, 3 to 6, 7
  EXPECT_EQ(cache.rows(0, "k")[6][0].item<float>(), 6.0f);
  EXPECT_EQ(cache.rows(0, "k")[7][2].item<float>(), 11.0f);
  EXPECT_EQ(cache.rows(0, "k")[5][0].item<float>(), 15.0f);  // of another block
  EXPECT_EQ(cache.rows(1, "v")[6][1].item<float>(), 5.0f);
  EXPECT_THROW(cache.rows(0, "latent"), Error);
  EXPECT_EQ(cache.bytes(), 2 * 8 * (3 + 2) * 4);
}

}  // namespace
}  // namespace sluice::model
