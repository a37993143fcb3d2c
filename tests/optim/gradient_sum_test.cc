#include "optim/internal/gradient_sum.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/network.h"
#include "optim/optimizer.h"
#include "tests/early_sums.h"
#include "tests/spawn_ranks.h"
#include "tests/tiny_network.h"

namespace sluice::optim {
namespace {

using transport::Collective;

constexpr int64_t kStretch = 500;  // numbers: every layer of the tiny networks has several

// Two ranks, the other of which adds nothing. Keeps what each sum began with.
class Recorder final : public Collective {
 public:
  struct Begun {
    at::Tensor tensor, then;
  };
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 2; }
  void all_reduce_sum(at::Tensor& tensor) override { begun.push_back({tensor, tensor.clone()}); }
  void broadcast(at::Tensor&, int64_t /*root*/) override {}  // the other has the same

  std::vector<Begun> begun;
};

// A network whose gradients lie in one buffer.
struct Bound {
  explicit Bound(std::unique_ptr<model::Network> its_network)
      : network(std::move(its_network)), grad(at::zeros_like(network->trained().flat())) {
    const auto& parameters = network->trained();
    for (size_t i = 0; i < parameters.slots().size(); ++i) {
      const auto& slot = parameters.slots()[i];
      parameters[i].mutable_grad() = grad.narrow(0, slot.offset, slot.count).view(slot.shape);
    }
  }

  // Of `rows` tokens of the seed.
  void backward(int64_t seed, int64_t rows = 12) const {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < rows; ++i) tokens.push_back(static_cast<int32_t>((seed * 7 + i * i * 3) % 23));
    model::PackedBatchBuilder builder;
    builder.add(tokens);
    const model::TokenTargets targets{.rows = at::arange(rows), .tokens = at::arange(rows)};
    network->logprobs(builder.build(at::kCPU), targets, /*temperature=*/1.0).logprobs.mean().backward();
  }

  const std::unique_ptr<model::Network> network;
  const at::Tensor grad;
};

struct Case {
  std::string name;
  std::function<std::unique_ptr<model::Network>()> make;
  bool all_begun = true;  // but the last stretch, when the backward ends
};
void PrintTo(const Case& each, std::ostream* out) { *out << each.name; }

std::unique_ptr<model::Network> tied_network() {
  model::LlamaShape shape;
  shape.vocab_size = 23;
  shape.hidden_size = 16;
  shape.intermediate_size = 24;
  shape.num_layers = 3;
  shape.num_heads = 2;
  shape.num_kv_heads = 1;
  shape.head_dim = 8;
  shape.tie_embeddings = true;
  auto network = std::make_unique<model::Network>(model::llama_config(shape), at::kCPU);
  network->init(/*seed=*/7);
  return network;
}

std::unique_ptr<model::Network> checkpointed(std::unique_ptr<model::Network> network) {
  network->checkpoint_blocks(true);
  return network;
}

std::vector<Case> cases() {
  return {
      {"Plain", [] { return tiny_network(); }},
      {"Checkpointed", [] { return checkpointed(tiny_network()); }},
      {"Tied", tied_network},
      {"TiedAndCheckpointed", [] { return checkpointed(tied_network()); }},
      {"Adapters",
       [] {
         auto network = tiny_network();
         network->add_adapter({.rank = 16}, /*seed=*/1);
         return network;
       }},
      {"CheckpointedAdapters",
       [] {
         auto network = checkpointed(tiny_network());
         network->add_adapter({.rank = 16}, /*seed=*/1);
         return network;
       }},
      // A token has two of the experts: one that sees none has no gradient, and what stands before it waits.
      {"Experts", [] { return tiny_mixtral(); }, /*all_begun=*/false},
      {"CheckpointedExperts", [] { return checkpointed(tiny_mixtral()); }, /*all_begun=*/false}};
}

class GradientSumOf : public testing::TestWithParam<Case> {};

TEST_P(GradientSumOf, BeginsWithWhatIsComplete) {
  const Bound bound(GetParam().make());
  Recorder ranks;
  GradientSum sum(bound.network->trained(), bound.grad, ranks, kStretch);
  ASSERT_GT(sum.num_stretches(), 3);
  for (int update = 0; update < 2; ++update) {
    bound.grad.zero_();
    ranks.begun.clear();
    bound.backward(1);
    bound.backward(2);
    EXPECT_EQ(ranks.begun.size(), 0u);
    sum.expect_last_backward();
    bound.backward(3);
    EXPECT_EQ(sum.num_begun(), std::ssize(ranks.begun));
    if (GetParam().all_begun) {
      EXPECT_EQ(sum.num_begun(), sum.num_stretches() - 1);
    }
    sum.finish();
    EXPECT_EQ(std::ssize(ranks.begun), sum.num_stretches());
    int64_t end = bound.grad.numel();
    for (const auto& [tensor, then] : ranks.begun) {
      EXPECT_TRUE(at::equal(then, tensor));
      end -= tensor.numel();
      EXPECT_EQ(tensor.storage_offset(), end);  // one after another, all of it
    }
    EXPECT_EQ(end, 0);
    EXPECT_GT(bound.grad.abs().sum().item<double>(), 0.0);
  }
}

// Ranks with three backwards, one, and none in turn; the gradient is the same number by number whether sums
// begin in a backward or not.
TEST_P(GradientSumOf, HasTheSameBitsWhenItBeginsInABackward) {
  for (const int64_t size : {2, 4}) {
    std::vector<at::Tensor> early(static_cast<size_t>(size)), late(early);
    spawn_ranks(size, [&](Collective& ranks) {
      const Bound bound(GetParam().make());
      GradientSum sum(bound.network->trained(), bound.grad, ranks, kStretch);
      const std::vector<int64_t> backwards = {3, 0, 1, 2};
      const int64_t count = backwards[static_cast<size_t>(ranks.rank())];
      for (auto* result : {&early, &late}) {
        bound.grad.zero_();
        for (int64_t i = 1; i <= count; ++i) {
          if (result == &early && i == count) sum.expect_last_backward();
          bound.backward(ranks.rank() * 10 + i);
        }
        sum.finish();
        (*result)[static_cast<size_t>(ranks.rank())] = bound.grad.clone();
      }
    });
    for (size_t rank = 0; rank < early.size(); ++rank) {
      EXPECT_TRUE(at::equal(early[rank], late[0])) << "rank " << rank << " of " << size;
      EXPECT_TRUE(at::equal(late[rank], late[0])) << "rank " << rank << " of " << size;
    }
    EXPECT_GT(late[0].abs().sum().item<double>(), 0.0);
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, GradientSumOf, testing::ValuesIn(cases()),
                         [](const auto& each) { return each.param.name; });

TEST(GradientSum, RefusesAGradientThatComesAfterItsSum) {
  const Bound bound(tiny_network());
  Recorder ranks;
  GradientSum sum(bound.network->trained(), bound.grad, ranks, kStretch);
  sum.expect_last_backward();
  bound.backward(1);
  EXPECT_THROW(bound.backward(2), Error);
}

TEST(GradientSum, LeavesABackwardAloneThatNobodyCalledTheLast) {
  const Bound bound(tiny_network());
  Recorder ranks;
  { const GradientSum gone(bound.network->trained(), bound.grad, ranks, kStretch); }
  GradientSum sum(bound.network->trained(), bound.grad, ranks, kStretch);
  bound.backward(1);
  EXPECT_EQ(sum.num_begun(), 0);
}

void backward(const model::Network& network, int64_t rank) {
  model::PackedBatchBuilder builder;
  builder.add(std::vector<int32_t>{1, 2, static_cast<int32_t>(3 + rank)});
  network.logprobs(builder.build(at::kCPU), {at::arange(3), at::arange(3)}, 1.0).logprobs.mean().backward();
}

// A loss that is not finite is known after its backward, in which sums have begun.
TEST(Optimizer, RejectsOnAllRanksWhatOneRejectsAfterTheBackward) {
  spawn_ranks(2, [](Collective& ranks) {
    const auto network = wide_network();
    Optimizer optimizer(*network, ranks, {.lr = 1e-3}, /*total_steps=*/10);
    const auto before = network->flat().clone();
    for (const bool rejects : {true, false}) {
      optimizer.zero_grad();
      optimizer.expect_last_backward();
      backward(*network, ranks.rank());
      EXPECT_THROW(optimizer.zero_grad(), Error);
      if (rejects && ranks.rank() == 1) optimizer.reject();
      EXPECT_EQ(optimizer.step().applied, !rejects);
      EXPECT_EQ(at::equal(network->flat(), before), rejects);
    }
    EXPECT_EQ(optimizer.num_skipped(), 1);
    EXPECT_GT(optimizer.take_sum_seconds(), 0.0);
    EXPECT_EQ(optimizer.take_sum_seconds(), 0.0);
  });
}

}  // namespace
}  // namespace sluice::optim
