#include "model/internal/checkpointed.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

#include "model/network.h"
#include "model/scalar_head.h"
#include "tests/model/peak_bytes.h"
#include "tests/tiny_network.h"

namespace sluice::model {
namespace {

using Tokens = std::vector<int32_t>;

// A prompt that stands once and two completions that name it, and a sequence of its own.
PackedBatch shared_prompt() {
  PackedBatchBuilder builder;
  const auto prompt = builder.add(Tokens{3, 1, 4, 1});
  builder.add(Tokens{5, 9, 2}, prompt);
  builder.add(Tokens{6, 5}, prompt);
  builder.add(Tokens{7, 8, 9});
  return builder.build(at::kCPU);
}

// Of log-probs of all rows, the balance of experts where there are some, and a bit of the entropy.
void learn(const Network& network) {
  const auto batch = shared_prompt();
  const int64_t rows = batch.num_rows();
  const auto out = network.logprobs(batch, {at::arange(rows), at::arange(rows) + 2}, 0.7);
  auto loss = out.logprobs.sum() + 0.1 * out.entropy.sum();
  if (out.balance_loss.defined()) loss = loss + 3.0 * out.balance_loss;
  loss.backward();
}

void expect_the_same_gradients(const std::function<std::unique_ptr<Network>()>& make,
                               const std::function<void(const Network&)>& work = learn) {
  const auto plain = make(), checkpointed = make();
  checkpointed->checkpoint_blocks(true);
  for (int pass = 0; pass < 2; ++pass) {  // the second adds to the first
    work(*plain);
    work(*checkpointed);
  }

  const auto &expected = plain->trained().tensors(), &seen = checkpointed->trained().tensors();
  bool any = false;
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(expected[i].tensor.grad().defined(), seen[i].tensor.grad().defined()) << expected[i].name;
    if (!expected[i].tensor.grad().defined()) continue;
    any = true;
    EXPECT_TRUE(at::equal(expected[i].tensor.grad(), seen[i].tensor.grad())) << expected[i].name;
  }
  EXPECT_TRUE(any);
}

TEST(Checkpointed, GivesTheSameGradients) {
  expect_the_same_gradients([] { return tiny_network(); });
}

TEST(Checkpointed, GivesTheSameGradientsOfProductsInBFloat16) {
  expect_the_same_gradients([] {
    auto network = tiny_network();
    network->round_products(Rounding::BFloat16Both);
    return network;
  });
}

TEST(Checkpointed, GivesTheSameGradientsToAdaptersAboveFrozenEmbeddings) {
  expect_the_same_gradients([] {
    auto network = tiny_network();
    network->add_adapter({.rank = 4}, /*seed=*/3);
    for (const auto& [name, tensor] : network->trained().tensors()) {  // B is 0 as it comes
      const at::NoGradGuard no_grad;
      tensor.add_(0.01);
    }
    return network;
  });
}

TEST(Checkpointed, GivesTheSameGradientsToExpertsAndTheirRouter) { expect_the_same_gradients(tiny_mixtral); }

TEST(Checkpointed, GivesTheSameGradientsOfScores) {
  expect_the_same_gradients(
      [] { return with_scalar_head(*tiny_network(), /*seed=*/5); },
      [](const Network& network) {
        const auto batch = shared_prompt();
        network.scores(batch, at::tensor({6, 8, 11}, at::kLong)).square().sum().backward();
      });
}

TEST(Checkpointed, KeepsAFractionOfTheMemoryOfTwelveLayers) {
  auto config = tiny_config();
  config.layers.resize(12, config.layers.front());
  Network network(config, at::kCPU);
  network.init(1);
  std::vector<at::Tensor> grads;
  for (const auto& parameter : network.parameters()) {
    grads.push_back(at::zeros_like(parameter.tensor));
    parameter.tensor.mutable_grad() = grads.back();
  }
  const auto step = [&network] {
    PackedBatchBuilder builder;
    for (int i = 0; i < 16; ++i) builder.add(Tokens(60, 5));
    const auto batch = builder.build(at::kCPU);
    const auto rows = at::arange(batch.num_rows());
    network.logprobs(batch, {rows, rows.remainder(20)}, 1.0).logprobs.sum().backward();
  };
  const auto plain = peak_bytes(step);
  network.checkpoint_blocks(true);
  const auto checkpointed = peak_bytes(step);

  RecordProperty("plain_bytes", static_cast<int>(plain));
  RecordProperty("checkpointed_bytes", static_cast<int>(checkpointed));
  EXPECT_LT(static_cast<double>(checkpointed), 0.7 * static_cast<double>(plain))
      << checkpointed << " bytes of " << plain;
}

TEST(Checkpointed, LeavesWhatIsComputedWithoutGradientsAlone) {
  const auto network = tiny_network();
  const at::NoGradGuard no_grad;
  const auto before = network->forward(shared_prompt());
  network->checkpoint_blocks(true);
  EXPECT_TRUE(at::equal(network->forward(shared_prompt()), before));
}

}  // namespace
}  // namespace sluice::model
