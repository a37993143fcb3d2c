#include "sft/embedding_noise.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace sluice::sft {
namespace {

Example of_length(size_t tokens) {
  Example example{.tokens = std::vector<int32_t>(tokens, 3), .weights = std::vector<float>(tokens, 1.0f)};
  example.weights[0] = 0.0f;
  return example;
}

TEST(EmbeddingNoise, FillsUpToTheBoundOfEachExampleAndHasMeanZero) {
  // 101 tokens are 100 rows, 5 tokens 4 rows; width 64: bounds 5 / sqrt(6400) and 5 / sqrt(256).
  const auto pack = pack_examples(std::vector{of_length(101), of_length(5)}, 1000, at::kCPU).front();
  const auto noise = embedding_noise(pack, 64, /*step=*/0, {.alpha = 5.0, .seed = 1});
  ASSERT_EQ(noise.sizes(), (std::vector<int64_t>{104, 64}));
  const auto of_long = noise.narrow(0, 0, 100), of_short = noise.narrow(0, 100, 4);
  for (const auto& [part, bound] : {std::pair(of_long, 0.0625), std::pair(of_short, 0.3125)}) {
    EXPECT_LE(part.abs().max().item<double>(), bound);
    EXPECT_GE(part.abs().max().item<double>(), 0.98 * bound);
    EXPECT_NEAR(part.mean().item<double>(), 0.0, 0.15 * bound);
    EXPECT_NEAR(part.std().item<double>(), bound / std::sqrt(3.0), 0.1 * bound);
  }
  EXPECT_FALSE(at::equal(noise[0], noise[1]));
  EXPECT_FALSE(at::equal(noise[0] * 5, noise[100]));  // the same draws for the other example
}

TEST(EmbeddingNoise, OfAnExampleIsTheSameInWhateverPackItLies) {
  const std::vector examples = {of_length(9), of_length(4), of_length(7)};
  const auto together = pack_examples(examples, 1000, at::kCPU);
  const auto apart = pack_examples(examples, 1, at::kCPU);
  ASSERT_EQ(together.size(), 1u);
  ASSERT_EQ(apart.size(), 3u);
  const NoiseOptions options{.alpha = 5.0, .seed = 1};
  std::vector<at::Tensor> parts;  // the order of both is that of the lengths
  for (const auto& pack : apart) parts.push_back(embedding_noise(pack, 6, /*step=*/7, options));
  EXPECT_TRUE(at::equal(embedding_noise(together.front(), 6, /*step=*/7, options), at::cat(parts)));
  EXPECT_FALSE(at::equal(embedding_noise(together.front(), 6, /*step=*/8, options), at::cat(parts)));
}

}  // namespace
}  // namespace sluice::sft
