#include "reference/reference_policy.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace sluice::reference {
namespace {

std::unique_ptr<model::Network> small_network() {
  model::LlamaShape config;
  config.vocab_size = 11;
  config.hidden_size = 8;
  config.intermediate_size = 12;
  config.num_layers = 1;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 4;
  config.max_position = 16;
  auto network = std::make_unique<model::Network>(model::llama_config(config), at::kCPU);
  network->init(5);
  return network;
}

model::PackedBatch small_batch() {
  model::PackedBatchBuilder builder;
  builder.add(std::vector<int32_t>{1, 4, 9});
  return builder.build(at::kCPU);
}

const model::TokenTargets& targets() {
  static const model::TokenTargets both{at::tensor({0, 1}, at::kLong), at::tensor({4, 9}, at::kLong)};
  return both;
}

TEST(ReferencePolicy, GivesTheLogprobsOfItsNetworkWithoutGradients) {
  auto network = small_network();
  const auto policy = network->logprobs(small_batch(), targets(), 0.8).logprobs;
  const ReferencePolicy reference(std::move(network));
  const auto logprobs = reference.logprobs(small_batch(), targets(), 0.8);
  EXPECT_FALSE(logprobs.requires_grad());
  EXPECT_TRUE(at::equal(logprobs, policy.detach()));
}

TEST(ReferencePolicy, StaysWhenThePolicyItWasCopiedFromMoves) {
  const auto policy = small_network();
  const ReferencePolicy reference(small_network());
  const auto before = reference.logprobs(small_batch(), targets(), 1.0);
  policy->flat().add_(0.5f);
  EXPECT_TRUE(at::equal(reference.logprobs(small_batch(), targets(), 1.0), before));
  EXPECT_NO_THROW(reference.check_unmoved());
  EXPECT_EQ(reference.hash(), small_network()->snapshot(0).hash);
}

TEST(ReferencePolicy, NoticesThatItsWeightsMoved) {
  auto network = small_network();
  auto weights = network->flat();
  const ReferencePolicy reference(std::move(network));
  weights[3].add_(1);
  EXPECT_THROW(reference.check_unmoved(), Error);
}

}  // namespace
}  // namespace sluice::reference
