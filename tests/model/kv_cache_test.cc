#include "model/kv_cache.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace sluice::model {
namespace {

KvCache small_cache() {
  return KvCache({.layout = CacheLayout(2, {.rows = {{"k", 3}, {"v", 2}}}), .num_blocks = 4, .block_size = 2},
                 at::kCPU);
}

TEST(KvCache, ABlockIsHeldOnceAndComesBack) {
  auto cache = small_cache();
  EXPECT_EQ(cache.allocate(3), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(cache.num_free(), 1);
  EXPECT_THROW(cache.allocate(2), Error);
  cache.release({1});
  EXPECT_EQ(cache.allocate(1), (std::vector<int64_t>{1}));
  cache.release({1});
  EXPECT_THROW(cache.release({1}), Error);
  EXPECT_THROW(cache.release({4}), Error);
}

TEST(KvCache, APlaceLiesInTheBlockOfItsSequence) {
  const auto cache = small_cache();
  EXPECT_EQ(cache.slot({3, 1}, 1, {}), 7);
  EXPECT_EQ(cache.slot({3, 1}, 2, {}), 2);
  EXPECT_THROW(cache.slot({3, 1}, 4, {}), Error);
}

TEST(KvCache, CopiesTheFirstTokensInEveryLayer) {
  auto cache = small_cache();
  cache.rows(0, "k").copy_(at::arange(24, at::kFloat).view({8, 3}));
  cache.rows(1, "v").copy_(at::arange(16, at::kFloat).view({8, 2}));
  cache.copy({1, 0}, {3, 2}, 3);  // slots 2, 3, 0 to 6, 7, 4
  EXPECT_EQ(cache.rows(0, "k")[6][0].item<float>(), 6.0f);
  EXPECT_EQ(cache.rows(0, "k")[7][2].item<float>(), 11.0f);
  EXPECT_EQ(cache.rows(0, "k")[4][1].item<float>(), 1.0f);
  EXPECT_EQ(cache.rows(0, "k")[5][0].item<float>(), 15.0f);  // the fourth token was not asked for
  EXPECT_EQ(cache.rows(1, "v")[4][1].item<float>(), 1.0f);
  EXPECT_THROW(cache.rows(0, "latent"), Error);
}

TEST(KvCache, ALayerWithAWindowKeepsARingHoweverLongTheSequence) {
  const CacheLayout layout{{.rows = {{"k", 3}}, .window = 4}, {.rows = {{"k", 3}}}};
  auto cache = KvCache({.layout = layout, .num_blocks = 2, .block_size = 100}, at::kCPU);
  const int64_t ring = 4 + kMaxWindowAppend - 1;
  EXPECT_EQ(cache.ring_size(4), ring);
  EXPECT_EQ(cache.rows(0, "k").size(0), 2 * ring);
  EXPECT_EQ(cache.rows(1, "k").size(0), 200);
  EXPECT_EQ(cache.slot({1}, ring + 2, 4), ring + 2);  // the second block, place 2 of the ring
  EXPECT_EQ(cache.bytes(), (2 * ring + 200) * 3 * 4);

  cache.rows(0, "k").narrow(0, 0, ring).fill_(7);
  cache.copy({0}, {1}, 90);  // all of the ring
  EXPECT_EQ(cache.rows(0, "k").narrow(0, ring, ring).min().item<float>(), 7.0f);
}

}  // namespace
}  // namespace sluice::model
