#include "model/network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "model/model_directory.h"

namespace sluice::model {
namespace {

using Tokens = std::vector<int32_t>;

LlamaShape small_shape() {
  LlamaShape config;
  config.vocab_size = 19;
  config.hidden_size = 24;
  config.intermediate_size = 20;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 6;
  config.max_position = 32;
  return config;
}

ModelConfig small_config() { return llama_config(small_shape()); }

// Matrices ten times those of init(), so that what a mistake changes is seen.
std::unique_ptr<Network> small_network(uint64_t seed = 7) {
  auto network = std::make_unique<Network>(small_config(), at::kCPU);
  network->init(seed);
  for (const auto& [name, parameter] : network->parameters()) {
    if (parameter.dim() == 2) parameter.detach().mul_(10);
  }
  return network;
}

at::Tensor alone(const Network& network, const Tokens& tokens) {
  PackedBatchBuilder builder;
  builder.add(tokens);
  return network.forward(builder.build(at::kCPU));
}

double difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

std::vector<at::Tensor> take_grads(const Network& network) {
  std::vector<at::Tensor> grads;
  for (auto [name, parameter] : network.parameters()) {
    if (name == "lm_head.weight") continue;  // not used by forward()
    grads.push_back(parameter.grad().clone());
    parameter.mutable_grad().reset();
  }
  return grads;
}

TEST(Network, APackOfSequencesGivesWhatEachGivesAloneWithItsGradients) {
  const auto network = small_network();
  const std::vector<Tokens> sequences{{5, 6, 2}, {7, 2}, {8, 9, 4, 2}};  // the packing example of the spec
  PackedBatchBuilder builder;
  for (const auto& tokens : sequences) builder.add(tokens);
  const auto packed = network->forward(builder.build(at::kCPU));
  packed.pow(2).sum().backward();
  const auto packed_grads = take_grads(*network);

  std::vector<at::Tensor> each;
  for (const auto& tokens : sequences) each.push_back(alone(*network, tokens));
  EXPECT_LE(difference(packed, at::cat(each)), 1e-5);
  at::cat(each).pow(2).sum().backward();
  const auto grads = take_grads(*network);
  for (size_t i = 0; i < grads.size(); ++i) EXPECT_LE(difference(packed_grads[i], grads[i]), 2e-4);
}

TEST(Network, CompletionsThatNameTheirPromptGiveWhatPromptAndCompletionGiveTogether) {
  const auto network = small_network();
  const Tokens prompt{3, 1, 4, 1};
  const std::vector<Tokens> completions{{5, 9}, {2, 6, 5}, {8}};
  PackedBatchBuilder builder;
  const auto prompt_index = builder.add(prompt);
  for (const auto& tokens : completions) builder.add(tokens, prompt_index);
  builder.add(Tokens{7, 7});
  const auto packed = network->forward(builder.build(at::kCPU));
  packed.pow(2).sum().backward();
  const auto packed_grads = take_grads(*network);

  std::vector<at::Tensor> parts{alone(*network, prompt)};
  for (const auto& tokens : completions) {
    Tokens whole = prompt;
    whole.insert(whole.end(), tokens.begin(), tokens.end());
    parts.push_back(alone(*network, whole).slice(0, 4));
  }
  parts.push_back(alone(*network, {7, 7}));
  EXPECT_LE(difference(packed, at::cat(parts)), 1e-5);
  at::cat(parts).pow(2).sum().backward();
  const auto grads = take_grads(*network);
  for (size_t i = 0; i < grads.size(); ++i) EXPECT_LE(difference(packed_grads[i], grads[i]), 2e-4);
}

TEST(Network, DecodingWithACacheGivesTheLogprobsOfOnePassWithout) {
  const auto network = small_network();
  const Tokens tokens{3, 1, 4, 1, 5, 9, 2, 6, 5, 3};
  const auto whole = alone(*network, tokens).detach();
  KvCache cache({.layout = network->cache_layout(), .num_blocks = 8, .block_size = 3}, at::kCPU);
  CacheView view{.cache = &cache, .block_table = {{5, 0, 3, 6}}, .cached = {0}};
  std::vector<at::Tensor> parts;
  for (const size_t end : {4u, 5u, 6u, 9u, 10u}) {  // a prompt of 4, single tokens, a piece of 3
    const auto first = static_cast<size_t>(view.cached[0]);
    PackedBatchBuilder builder;
    builder.add(std::span(tokens).subspan(first, end - first), kNoPrefix, view.cached[0]);
    parts.push_back(network->forward(builder.build(at::kCPU), &view));
    EXPECT_FALSE(parts.back().requires_grad());
    view.cached[0] = static_cast<int64_t>(end);
  }
  const auto targets = at::tensor({1, 4, 1, 5, 9, 2, 6, 5, 3, 0}, at::kLong);
  const auto cached = token_logprobs(at::cat(parts), network->head(), targets, {}).logprobs;
  EXPECT_LE(difference(cached, token_logprobs(whole, network->head(), targets, {}).logprobs), 1e-5);
}

TEST(Network, CompletionsGoOnFromCopiesOfOnePromptInTheCache) {
  const auto network = small_network();
  const Tokens prompt{3, 1, 4, 1, 5};
  KvCache cache({.layout = network->cache_layout(), .num_blocks = 3, .block_size = 12}, at::kCPU);
  const std::vector<int64_t> first = {2}, second = {0};
  {
    CacheView view{.cache = &cache, .block_table = {first}, .cached = {0}};
    PackedBatchBuilder builder;
    builder.add(prompt);
    network->forward(builder.build(at::kCPU), &view);
  }
  cache.copy_block(2, 0);
  // Sequences of different length decode together: the first is two tokens ahead.
  CacheView view{.cache = &cache, .block_table = {first, second}, .cached = {5, 5}};
  PackedBatchBuilder builder;
  builder.add(Tokens{9, 2, 6}, kNoPrefix, 5);
  builder.add(Tokens{8}, kNoPrefix, 5);
  network->forward(builder.build(at::kCPU), &view);
  view.cached = {8, 6};
  PackedBatchBuilder next;
  next.add(Tokens{5}, kNoPrefix, 8);
  next.add(Tokens{7}, kNoPrefix, 6);
  const auto out = network->forward(next.build(at::kCPU), &view);
  EXPECT_LE(difference(out[0], alone(*network, {3, 1, 4, 1, 5, 9, 2, 6, 5}).detach()[8]), 1e-5);
  EXPECT_LE(difference(out[1], alone(*network, {3, 1, 4, 1, 5, 8, 7}).detach()[6]), 1e-5);
}

// Two rows and none: as many rows as sequences, which once passed for a step of one row each.
TEST(Network, AWindowHoldsWhereAnEmptySequenceStandsBesideOneThatGoesOnByTwo) {
  auto config = small_config();
  for (auto& layer : config.layers) layer.window = 3;
  Network network(config, at::kCPU);
  network.init(7);
  for (const auto& [name, parameter] : network.parameters()) {
    if (parameter.dim() == 2) parameter.detach().mul_(10);
  }
  KvCache cache({.layout = network.cache_layout(), .num_blocks = 2, .block_size = 12}, at::kCPU);
  CacheView view{.cache = &cache, .block_table = {{0}, {1}}, .cached = {0, 0}};
  const Tokens tokens{3, 1, 4, 1, 5, 9, 2};
  PackedBatchBuilder start, next;
  start.add(std::span(tokens).first(5));
  start.add(Tokens{});
  network.forward(start.build(at::kCPU), &view);
  view.cached = {5, 0};
  next.add(std::span(tokens).subspan(5), kNoPrefix, 5);
  next.add(Tokens{});
  const auto out = network.forward(next.build(at::kCPU), &view);
  EXPECT_LE(difference(out, alone(network, tokens).detach().slice(0, 5)), 1e-5);
}

// The formula is the softmax router's.
TEST(Network, ABalanceIsMeasuredOfSoftmaxRoutersAlone) {
  const auto balance_of = [](const std::string& golden) {
    const auto network =
        load_model(std::filesystem::path(SLUICE_SOURCE_DIR) / "data" / "goldens" / golden, at::kCPU);
    PackedBatchBuilder builder;
    builder.add(Tokens{3, 4, 5});
    const TokenTargets targets{at::tensor({0, 1}, at::kLong), at::tensor({4, 5}, at::kLong)};
    return network->logprobs(builder.build(at::kCPU), targets, 1.0).balance_loss;
  };
  EXPECT_TRUE(balance_of("mixtral").defined());
  EXPECT_TRUE(balance_of("deepseek_v2").defined());
  EXPECT_FALSE(balance_of("deepseek_v3").defined());
}

// Log-probs of a sequence, and the gradients of all parameters of their sum.
std::pair<at::Tensor, std::vector<at::Tensor>> logprobs_with_gradients(const Network& network) {
  PackedBatchBuilder builder;
  builder.add(Tokens{3, 1, 4, 1, 5, 9, 2});
  const auto result = network.logprobs(builder.build(at::kCPU), {at::arange(6), at::arange(1, 7)}, 0.7);
  result.logprobs.sum().backward();
  std::vector<at::Tensor> grads;
  for (const auto& [name, parameter] : network.parameters()) grads.push_back(parameter.grad());
  return {result.logprobs.detach(), grads};
}

TEST(Network, RoundedProductsGiveWhatRoundedMatricesGiveWithTheirGradients) {
  const auto rounding = small_network(), rounded = small_network();
  rounding->round_products(Rounding::BFloat16);
  for (const auto& [name, parameter] : rounded->parameters()) {
    const bool is_table = name == "model.embed_tokens.weight";
    if (parameter.dim() == 2 && !is_table)
      parameter.detach().copy_(parameter.to(at::kBFloat16).to(at::kFloat));
  }

  const auto [logprobs, grads] = logprobs_with_gradients(*rounding);
  const auto [expected, expected_grads] = logprobs_with_gradients(*rounded);

  EXPECT_TRUE(at::equal(logprobs, expected));
  for (size_t i = 0; i < grads.size(); ++i)
    EXPECT_TRUE(at::equal(grads[i], expected_grads[i])) << rounding->parameters()[i].name;
  EXPECT_FALSE(at::equal(rounding->flat(), rounded->flat()));
  EXPECT_FALSE(at::equal(logprobs_with_gradients(*small_network()).first, expected));
}

TEST(Network, WithoutGradientsGivesTheSameNumbers) {
  const auto network = small_network();
  const auto with = alone(*network, {1, 2, 3, 4});
  EXPECT_TRUE(with.requires_grad());
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(with.detach(), alone(*network, {1, 2, 3, 4})));
}

TEST(Network, NoiseIsAddedToWhatIsLookedUp) {
  const auto network = small_network(), moved = small_network();
  // What is looked up for token 4, which occurs once, is moved by hand in the other network.
  const auto noise = at::zeros({3, 24});
  noise[1].fill_(0.25);
  at::NoGradGuard no_grad;
  moved->parameters().front().tensor[4].add_(0.25);
  PackedBatchBuilder builder;
  builder.add(Tokens{2, 4, 3});
  const auto batch = builder.build(at::kCPU);
  const TokenTargets targets{at::tensor({1, 2}, at::kLong), at::tensor({3, 5}, at::kLong)};
  const auto plain = network->logprobs(batch, targets, 1.0).logprobs;
  EXPECT_TRUE(at::equal(network->logprobs(batch, targets, 1.0, noise).logprobs,
                        moved->logprobs(batch, targets, 1.0).logprobs));
  EXPECT_FALSE(at::equal(network->logprobs(batch, targets, 1.0, noise).logprobs, plain));
  EXPECT_TRUE(at::equal(network->logprobs(batch, targets, 1.0, noise * 0).logprobs, plain));
  EXPECT_THROW(network->logprobs(batch, targets, 1.0, noise.narrow(0, 0, 2)), Error);
}

TEST(Network, RefusesPositionsAndTokensOutsideItsTables) {
  const auto network = small_network();
  EXPECT_NO_THROW(alone(*network, Tokens(32, 1)));
  EXPECT_THROW(alone(*network, Tokens(33, 1)), Error);
  EXPECT_THROW(alone(*network, {19}), Error);
  EXPECT_THROW(alone(*network, {-1}), Error);
}

TEST(Network, RefusesAPrefixBesideACache) {
  const auto network = small_network();
  KvCache cache({.layout = network->cache_layout(), .num_blocks = 2, .block_size = 8}, at::kCPU);
  const CacheView view{.cache = &cache, .block_table = {{0}, {1}}, .cached = {0, 0}};
  PackedBatchBuilder builder;
  builder.add(Tokens{1, 2});
  builder.add(Tokens{3}, 0);
  EXPECT_THROW(network->forward(builder.build(at::kCPU), &view), Error);
}

TEST(Network, InitDependsOnTheSeedAloneAndLooksNormal) {
  auto shape = small_shape();
  shape.vocab_size = 4000;
  const auto config = llama_config(shape);
  Network first(config, at::kCPU), second(config, at::kCPU), other(config, at::kCPU);
  first.init(1);
  second.init(1);
  other.init(2);
  EXPECT_TRUE(at::equal(first.flat(), second.flat()));
  EXPECT_FALSE(at::equal(first.flat(), other.flat()));
  const auto embedding = first.parameters()[0].tensor.detach();
  EXPECT_NEAR(embedding.mean().item<double>(), 0.0, 3e-4);  // 0.02 / sqrt(96000) is 6.5e-5
  EXPECT_NEAR(embedding.std().item<double>(), 0.02, 3e-4);
  EXPECT_LT(embedding.abs().max().item<double>(), 0.02 * 6);
  EXPECT_TRUE(at::equal(first.parameters()[1].tensor.detach(), at::ones({24})));
}

TEST(Network, WritingToTheFlatBufferChangesTheParameters) {
  const auto network = small_network();
  network->flat().fill_(0.5f);
  for (const auto& [name, parameter] : network->parameters()) {
    EXPECT_TRUE(parameter.is_leaf() && parameter.requires_grad()) << name;
    EXPECT_EQ(parameter.detach().min().item<float>(), 0.5f) << name;
  }
}

TEST(Network, TheHashFollowsTheWeights) {
  const auto network = small_network();
  const auto before = network->weights_hash();
  EXPECT_EQ(before.size(), 64u);
  EXPECT_EQ(network->weights_hash(), before);
  network->flat()[0].add_(1);
  EXPECT_NE(network->weights_hash(), before);
}

TEST(Network, MappedRowsGiveTheSameOutputWithoutGradients) {
  const auto network = small_network();
  const auto rows = network->merged_flat().clone();
  const auto bytes = static_cast<int64_t>(rows.nbytes());
  Network mapped(small_config(), at::kCPU);
  mapped.map(kRowsLayout, rows.const_data_ptr(), bytes);
  EXPECT_EQ(mapped.flat().const_data_ptr<float>(), rows.const_data_ptr<float>());
  const auto out = alone(mapped, {1, 2, 3});
  EXPECT_FALSE(out.requires_grad());
  EXPECT_TRUE(at::equal(out, alone(*network, {1, 2, 3}).detach()));
  EXPECT_THROW(mapped.map(kRowsLayout, rows.const_data_ptr(), 5), Error);
}

}  // namespace
}  // namespace sluice::model
