// What a step takes besides weights and gradients does not grow with the vocabulary.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

#include "model/network.h"
#include "tests/model/peak_bytes.h"

namespace sluice::model {
namespace {

constexpr int64_t kRows = 256;

// Of a forward and a backward of log-probs of so many rows, into gradients that are there.
int64_t peak_of_step(int64_t vocab) {
  Network network(llama_config({.vocab_size = vocab,
                                .hidden_size = 32,
                                .intermediate_size = 48,
                                .num_layers = 1,
                                .num_heads = 2,
                                .num_kv_heads = 1,
                                .head_dim = 16,
                                .max_position = kRows,
                                .tie_embeddings = true}),
                  at::kCPU);
  network.init(1);
  std::vector<at::Tensor> grads;
  for (const auto& [name, tensor] : network.parameters()) {
    grads.push_back(at::zeros_like(tensor));
    tensor.mutable_grad() = grads.back();
  }
  PackedBatchBuilder builder;
  builder.add(std::vector<int32_t>(kRows, 5));
  const auto batch = builder.build(at::kCPU);
  const auto rows = at::arange(kRows);
  return peak_bytes([&] { network.logprobs(batch, {rows, rows}, 1.0).logprobs.sum().backward(); });
}

// With 256 rows 8,192 tokens have their logits at once, 8 MiB of them.
TEST(VocabularyMemory, IsThatOfAsManyLogitsAsThereAreAtOnce) {
  const int64_t small = peak_of_step(2 * 8192), large = peak_of_step(8 * 8192);
  EXPECT_EQ(large, small);
  EXPECT_GE(small, kRows * 8192 * 4);
  EXPECT_LT(small, 3 * kRows * 8192 * 4);
  EXPECT_LT(peak_of_step(1024), small);
}

}  // namespace
}  // namespace sluice::model
