#include "reference/reference_policy.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/model_directory.h"
#include "tests/base/temp_folder.h"
#include "tests/loss_checks.h"
#include "tests/spec_example.h"

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
  EXPECT_EQ(reference.hash(), small_network()->weights_hash());
}

TEST(ReferencePolicy, NoticesThatItsWeightsMoved) {
  auto network = small_network();
  auto weights = network->flat();
  const ReferencePolicy reference(std::move(network));
  weights[3].add_(1);
  EXPECT_THROW(reference.check_unmoved(), Error);
}

TEST(ReferencePolicy, FromDiskIsTheOneInMemory) {
  const TempFolder directory;
  model::save_model(directory / "model", *small_network(), {});
  const ReferencePolicy whole(small_network());
  ReferencePolicy from_disk(std::make_unique<model::OffloadedNetwork>(directory / "model", at::kCPU));
  EXPECT_EQ(from_disk.hash(), whole.hash());
  EXPECT_TRUE(at::equal(from_disk.logprobs(small_batch(), targets(), 0.8),
                        whole.logprobs(small_batch(), targets(), 0.8)));
  EXPECT_NO_THROW(from_disk.check_unmoved());
  expect_refused([&] { from_disk.mix(small_network()->flat(), 0.5); }, "not mixed into");
}

std::unique_ptr<model::Network> adapted_network() {
  auto network = small_network();
  network->add_adapter({.rank = 2}, /*seed=*/3);
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : network->trained().tensors()) tensor.add_(0.05);  // B is 0 as it comes
  return network;
}

TEST(ReferencePolicy, OfAdaptersIsThePolicyWithoutThemToTheLastBit) {
  const auto policy = adapted_network();
  const auto adapted = policy->logprobs(small_batch(), targets(), 0.8).logprobs.detach();
  const ReferencePolicy whole(small_network()), shared(*policy);
  const auto seen = shared.logprobs(small_batch(), targets(), 0.8);
  EXPECT_TRUE(at::equal(seen, whole.logprobs(small_batch(), targets(), 0.8)));
  EXPECT_FALSE(seen.requires_grad());
  EXPECT_FALSE(at::equal(seen, adapted));
  EXPECT_TRUE(at::equal(policy->logprobs(small_batch(), targets(), 0.8).logprobs.detach(), adapted));
  EXPECT_EQ(shared.hash(), whole.hash());
}

TEST(ReferencePolicy, OfAdaptersStaysWhenTheyMoveAndNoticesThatTheOthersDid) {
  const auto policy = adapted_network();
  const ReferencePolicy shared(*policy);
  policy->trained().flat().detach().add_(0.5);
  EXPECT_NO_THROW(shared.check_unmoved());
  policy->flat()[3].add_(1);
  EXPECT_THROW(shared.check_unmoved(), Error);
}

TEST(MixReference, IsTheMixtureOfTheSpecification) {
  const Json& example = spec_example("reference_model_mixup");
  const auto list = [](const Json& json) { return json.get<std::vector<double>>(); };
  auto reference = constant(list(example["inputs"]["ref"]));
  const auto policy = trained(list(example["inputs"]["policy"]));
  mix_reference(reference, policy, example["hyperparameters"]["alpha"].get<double>());
  expect_near(reference, list(example["expected"]["new_ref"]));
  EXPECT_FALSE(reference.requires_grad());
}

TEST(MixReference, RefusesSizesThatDifferAndAnAlphaOutsideZeroToOne) {
  auto two = constant({1, 2});
  expect_refused([&] { mix_reference(two, constant({1}), 0.6); }, "the policy is [1], the reference is [2]");
  expect_refused([&] { mix_reference(two, two, 1.5); }, "alpha is 1.5");
}

TEST(ReferencePolicy, ComputesWithTheMixedWeightsAndHasTheirHash) {
  const auto policy = small_network();
  policy->flat().mul_(1.5f);
  ReferencePolicy reference(small_network());
  reference.mix(policy->merged_flat(), 0.5);
  EXPECT_NO_THROW(reference.check_unmoved());

  auto mixed = small_network();
  mixed->flat().mul_(1.25f);
  const auto got = reference.logprobs(small_batch(), targets(), 1.0);
  EXPECT_TRUE(at::allclose(got, mixed->logprobs(small_batch(), targets(), 1.0).logprobs, 1e-6));

  reference.mix(policy->merged_flat(), 1.0);
  EXPECT_EQ(reference.hash(), policy->weights_hash());
}

TEST(ReferencePolicy, MixesIntoNoWeightsThatMovedOrAreTooCoarse) {
  auto network = small_network();
  auto weights = network->flat();
  const auto config = network->config();
  ReferencePolicy reference(std::move(network));
  weights[3].add_(1);
  expect_refused([&] { reference.mix(weights, 0.5); }, "its weights moved");

  auto coarse = std::make_unique<model::Network>(config, at::kCPU, at::kBFloat16);
  coarse->init(5);
  ReferencePolicy coarse_reference(std::move(coarse));
  expect_refused([&] { coarse_reference.mix(weights, 0.5); }, "bfloat16");
}

}  // namespace
}  // namespace sluice::reference
