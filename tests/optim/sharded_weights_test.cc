// Ranks that each have a part of the weights learn what they learn with all of them, and have no more than
// that part and a block in memory.
#include "optim/internal/sharded_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/model_directory.h"
#include "optim/internal/lent_pages.h"
#include "optim/internal/shard_parts.h"
#include "optim/optimizer.h"
#include "tests/rank_steps.h"
#include "tests/spawn_ranks.h"
#include "tests/tiny_network.h"

namespace sluice::optim {
namespace {

constexpr int64_t kEdges =
    12 * 4096;  // bytes of pages on which something else lies besides, one where two blocks meet

// Six blocks of 200 kB, each of many pages.
std::unique_ptr<model::Network> deep_network() {
  model::LlamaShape shape;
  shape.vocab_size = 23;
  shape.hidden_size = 64;
  shape.intermediate_size = 192;
  shape.num_layers = 6;
  shape.num_heads = 4;
  shape.num_kv_heads = 2;
  shape.head_dim = 16;
  shape.max_position = 64;
  auto network = std::make_unique<model::Network>(model::llama_config(shape), at::kCPU);
  network->init(/*seed=*/7);
  return network;
}

// The loss of rank `rank`'s share of a step: `passes` sequences, each a forward and a backward.
void add_gradients(const model::Network& network, int64_t rank, int64_t passes) {
  for (int64_t pass = 0; pass < passes; ++pass) {
    model::PackedBatchBuilder builder;
    std::vector<int32_t> tokens;
    for (int64_t t = 0; t < 9; ++t)
      tokens.push_back(static_cast<int32_t>((7 * rank + 3 * pass + t * t) % 23));
    builder.add(tokens);
    const auto batch = builder.build(at::kCPU);
    const auto rows = at::arange(8);
    (-network.logprobs(batch, {rows, batch.tokens.narrow(0, 1, 8).to(at::kLong)}, 1.0).logprobs.sum())
        .backward();
  }
}

// One pass for rank 0, two for rank 1, and so on: a step of `ranks` ranks, on one or on all of them.
void learn(const model::Network& network, Optimizer& optimizer, int64_t ranks) {
  optimizer.zero_grad();
  const bool is_alone = optimizer.collective().size() == 1;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    if (is_alone || rank == optimizer.collective().rank()) {
      add_gradients(network, rank, rank + 1);
      if (!is_alone) optimizer.idle_passes(ranks - 1 - rank);
    }
  }
  EXPECT_TRUE(optimizer.step().applied);
}

TEST(ShardedWeights, HaveTheGradientOfOneRank) {
  for (const int64_t size : {2, 4}) {
    const auto moved = [size](transport::Collective& ranks) {
      const auto network = deep_network();
      const auto before = network->flat().clone();
      const OptimizerOptions options{.kind = "sgd",
                                     .lr = 1.0,
                                     .weight_decay = 0.0,
                                     .momentum = 0.0,
                                     .max_grad_norm = 0.0,
                                     .shard = "weights"};
      Optimizer optimizer(*network, ranks, options, /*total_steps=*/10);
      learn(*network, optimizer, size);
      return before - shared_weights(*network, optimizer);
    };
    transport::SoloCollective alone;
    const auto expected = moved(alone);
    spawn_ranks(size, [&](transport::Collective& ranks) {
      const auto gradient = moved(ranks);
      EXPECT_LE((gradient - expected).norm().item<double>(), 1e-5 * expected.norm().item<double>());
    });
  }
}

TEST(ShardedWeights, AreThoseOfOneRankAfterTwentySteps) {
  constexpr int64_t kRanks = 4;
  const auto trained = [](transport::Collective& ranks) {
    const auto network = tiny_network();
    Optimizer optimizer(*network, ranks, {.lr = 1e-3, .shard = "weights"}, /*total_steps=*/100);
    for (int64_t step = 0; step < 20; ++step) {
      optimizer.zero_grad();
      for (int64_t rank = 0; rank < kRanks; ++rank) {
        if (ranks.size() == 1 || rank == ranks.rank()) add_gradients(*network, kRanks * step + rank, 1);
      }
      EXPECT_TRUE(optimizer.step().applied);
    }
    return shared_weights(*network, optimizer);
  };
  transport::SoloCollective alone;
  const auto expected = trained(alone);
  EXPECT_GT((expected - tiny_network()->flat()).norm().item<double>(), 1e-2 * expected.norm().item<double>());
  spawn_ranks(kRanks, [&](transport::Collective& ranks) {
    EXPECT_LE((trained(ranks) - expected).norm().item<double>(), 1e-5 * expected.norm().item<double>());
  });
}

// Looks at the memory of buffers in every sum and broadcast.
class Watched final : public transport::Collective {
 public:
  explicit Watched(transport::Collective& ranks) : ranks_(ranks) {}
  int64_t rank() const override { return ranks_.rank(); }
  int64_t size() const override { return ranks_.size(); }
  void meet() override { ranks_.meet(); }
  void all_reduce_sum(at::Tensor& tensor) override {
    ranks_.all_reduce_sum(tensor);
    look();
  }
  void broadcast(at::Tensor& tensor, int64_t root) override {
    ranks_.broadcast(tensor, root);
    look();
  }
  std::vector<at::Tensor> buffers;
  std::vector<int64_t> bytes;  // of each at most

 private:
  void look() {
    bytes.resize(std::max(bytes.size(), buffers.size()));
    for (size_t i = 0; i < buffers.size(); ++i) bytes[i] = std::max(bytes[i], resident_bytes(buffers[i]));
  }

  transport::Collective& ranks_;
};

TEST(ShardedWeights, TakeTheMemoryOfTheRootAPartAndABlock) {
  for (const int64_t size : {2, 4}) {
    spawn_ranks(size, [size](transport::Collective& group) {
      Watched ranks(group);
      const auto network = deep_network();
      Optimizer optimizer(*network, ranks, {.lr = 1e-3, .shard = "weights"}, /*total_steps=*/10);
      const auto& flat = network->flat();
      const auto numbers = network->block_numbers(0);
      const Shard blocks{.first = numbers.first, .count = 6 * numbers.count};
      const int64_t root = flat.numel() - blocks.count;
      const int64_t own = common_part(blocks, shard_of(flat.numel(), group.rank(), size)).count;
      const auto grad_of = [&](size_t parameter) { return network->parameters()[parameter].tensor.grad(); };
      const auto grad = at::from_blob(grad_of(0).mutable_data_ptr(), flat.sizes(), flat.options());

      EXPECT_GE(resident_bytes(flat), 4 * flat.numel() - kEdges);  // as it was loaded
      ranks.buffers = {flat, grad};
      for (int64_t step = 0; step < 2; ++step) learn(*network, optimizer, size);
      EXPECT_LE(resident_bytes(flat), 4 * (root + own) + kEdges);
      EXPECT_LE(resident_bytes(grad), 4 * root + kEdges);
      EXPECT_LE(ranks.bytes[0], 4 * (root + own + numbers.count) + kEdges);
      EXPECT_LE(ranks.bytes[1], 4 * (root + numbers.count) + kEdges);
      EXPECT_LT(2 * ranks.bytes[0], 3 * 4 * flat.numel() / 2);  // or the bounds say nothing

      ranks.buffers.clear();
      {
        const auto whole = optimizer.whole_weights();
        if (group.rank() == 0) {
          EXPECT_GE(resident_bytes(flat), 4 * flat.numel() - kEdges);
        }
      }
      EXPECT_LE(resident_bytes(flat), 4 * (root + own) + kEdges);
    });
  }
}

TEST(ShardedWeights, EndInTheSameBitsEachTimeAndRankZeroComputesAlone) {
  std::vector<std::string> hashes;
  for (int repeat = 0; repeat < 2; ++repeat) {
    spawn_ranks(3, [&](transport::Collective& ranks) {
      const auto network = deep_network();
      Optimizer optimizer(*network, ranks, {.lr = 1e-3, .shard = "weights"}, /*total_steps=*/10);
      for (int64_t step = 0; step < 3; ++step) learn(*network, optimizer, 3);
      const auto common = optimizer.hash_in_common();
      EXPECT_EQ(transport::broadcast(ranks, common), common);
      const auto whole = optimizer.whole_weights();
      if (ranks.rank() != 0) return ranks.meet();
      hashes.push_back(network->weights_hash());
      const at::NoGradGuard no_grad;
      const auto copy = deep_network();
      copy->flat().copy_(network->flat());
      model::PackedBatchBuilder builder;
      builder.add(std::vector<int32_t>{3, 1, 4, 1, 5});
      const auto batch = builder.build(at::kCPU);
      EXPECT_TRUE(at::equal(network->forward(batch), copy->forward(batch)));
      ranks.meet();
    });
  }
  EXPECT_EQ(hashes[0], hashes[1]);
}

TEST(ShardedWeights, SkipTogetherWhatOneOfThemRejects) {
  spawn_ranks(2, [](transport::Collective& ranks) {
    const auto network = deep_network();
    Optimizer optimizer(*network, ranks, {.lr = 1e-3, .shard = "weights"}, /*total_steps=*/10);
    const auto before = network->flat().clone();
    optimizer.zero_grad();
    add_gradients(*network, ranks.rank(), 1);
    if (ranks.rank() == 1) optimizer.reject();
    EXPECT_FALSE(optimizer.step().applied);
    EXPECT_EQ(optimizer.num_skipped(), 1);
    EXPECT_TRUE(at::equal(shared_weights(*network, optimizer), before));
  });
}

TEST(ShardedWeights, AreNotForAdapters) {
  spawn_ranks(2, [](transport::Collective& ranks) {
    const auto network = deep_network();
    network->add_adapter({.rank = 2}, /*seed=*/1);
    EXPECT_THROW(Optimizer(*network, ranks, {.shard = "weights"}, 10), Error);
    EXPECT_THROW(Optimizer(*network, ranks, {.shard = "halves"}, 10), Error);
    ranks.meet();
  });
}

}  // namespace
}  // namespace sluice::optim
