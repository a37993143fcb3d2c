#include "model/offloaded_network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "model/model_directory.h"
#include "model/scalar_head.h"
#include "tests/base/temp_folder.h"
#include "tests/model/peak_bytes.h"
#include "tests/tiny_network.h"

namespace sluice::model {
namespace {

namespace fs = std::filesystem;
using Tokens = std::vector<int32_t>;

const fs::path kGoldens = fs::path(SLUICE_SOURCE_DIR) / "data" / "goldens";

// A prompt that stands once, two completions that name it, and a sequence of its own.
PackedBatch shared_prompt(const at::Device& device = at::kCPU) {
  PackedBatchBuilder builder;
  const auto prompt = builder.add(Tokens{3, 1, 4, 1});
  builder.add(Tokens{5, 9, 2}, prompt);
  builder.add(Tokens{6, 5}, prompt);
  builder.add(Tokens{7, 8, 9});
  return builder.build(device);
}

TokenTargets all_rows(const PackedBatch& batch) {
  const auto rows = at::arange(batch.num_rows(), batch.tokens.options());
  return {rows, rows + 2};
}

// Twice: the second pass finds nothing of the first.
void expect_the_same(const Network& whole, OffloadedNetwork& offloaded, const std::string& name) {
  const auto batch = shared_prompt(whole.device());
  const at::NoGradGuard no_grad;
  const auto expected = whole.logprobs(batch, all_rows(batch), 0.7);
  for (int pass = 0; pass < 2; ++pass) {
    const auto seen = offloaded.logprobs(batch, all_rows(batch), 0.7);
    EXPECT_TRUE(at::equal(seen.logprobs, expected.logprobs)) << name;
    EXPECT_TRUE(at::equal(seen.entropy, expected.entropy)) << name;
  }
  EXPECT_EQ(offloaded.weights_hash(), whole.weights_hash()) << name;
}

TEST(OffloadedNetwork, GivesTheBitsOfTheFrozenNetworkInEveryFamily) {
  int families = 0;
  for (const auto& entry : fs::directory_iterator(kGoldens)) {
    if (!entry.is_directory()) continue;
    const auto whole = load_model(entry.path(), at::kCPU);
    whole->freeze();
    OffloadedNetwork offloaded(entry.path(), at::kCPU);
    expect_the_same(*whole, offloaded, entry.path().filename());
    ++families;
  }
  EXPECT_GT(families, 25);
}

TEST(OffloadedNetwork, GivesTheBitsOfNarrowProducts) {
  for (const auto rounding : {Rounding::BFloat16, Rounding::BFloat16Both, Rounding::Float16Both}) {
    const auto whole = load_model(kGoldens / "llama", at::kCPU);
    whole->round_products(rounding);
    whole->freeze();
    OffloadedNetwork offloaded(kGoldens / "llama", at::kCPU, rounding);
    expect_the_same(*whole, offloaded, "llama");
  }
}

// Twelve layers, of which one is there; matrices and embeddings of 256 x 64.
TEST(OffloadedNetwork, HasMemoryForWhatIsOutsideOfTheBlocksAndForOne) {
  const auto config = llama_config({.vocab_size = 256,
                                    .hidden_size = 64,
                                    .intermediate_size = 256,
                                    .num_layers = 12,
                                    .num_heads = 4,
                                    .num_kv_heads = 4,
                                    .head_dim = 16,
                                    .max_position = 64});
  const TempFolder directory;
  int64_t window = 0, all = 0;
  {
    Network network(config, at::kCPU);
    network.init(3);
    save_model(directory / "model", network, {});
    all = network.flat().numel() * 4;
    const int64_t block = network.block_numbers(0).count;
    window = all - 4 * 11 * block;
  }
  const auto batch = shared_prompt();
  OffloadedNetwork offloaded(directory / "model", at::kCPU);
  const auto peak = peak_bytes([&] { offloaded.logprobs(batch, all_rows(batch), 1.0); });

  constexpr int64_t kMatrix = 256 * 64 * 4;  // read whole before it is put in its place, and packed there
  EXPECT_GE(peak, window);
  EXPECT_LT(peak, window + 4 * kMatrix) << "of " << all;
  EXPECT_LT(peak, all / 3);
}

TEST(OffloadedNetwork, ReadsWhatWasThereWhenItWasMade) {
  const TempFolder directory;
  const auto whole = tiny_network();
  whole->freeze();
  save_model(directory / "model", *whole, {});
  OffloadedNetwork offloaded(directory / "model", at::kCPU);
  fs::remove_all(directory / "model");
  expect_the_same(*whole, offloaded, "removed");
}

TEST(OffloadedNetwork, RefusesWhatIsNoModelAndWhatHasNoLogits) {
  const TempFolder directory;
  EXPECT_THROW(OffloadedNetwork(directory / "nothing", at::kCPU), DataError);
  save_model(directory / "scores", *with_scalar_head(*tiny_network(), /*seed=*/5), {});
  EXPECT_THROW(OffloadedNetwork(directory / "scores", at::kCPU), DataError);
}

TEST(OffloadedNetwork, GivesTheBitsOfTheFrozenNetworkOnAGpu) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no GPU";
  const at::Device gpu(at::kCUDA, 0);
  const auto whole = load_model(kGoldens / "llama", gpu);
  whole->freeze();
  OffloadedNetwork offloaded(kGoldens / "llama", gpu);
  expect_the_same(*whole, offloaded, "llama");
}

}  // namespace
}  // namespace sluice::model
