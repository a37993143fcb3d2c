#include "model/weight_snapshot.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "model/kernels/transformer.h"
#include "model/large_tensor.h"
#include "model/network.h"

namespace sluice::model {
namespace {

// Rows that fill no panel, and a head of its own or not.
ModelConfig odd_config(bool tied) {
  return llama_config({.vocab_size = 45,
                       .hidden_size = 32,
                       .intermediate_size = 25,
                       .num_layers = 2,
                       .num_heads = 2,
                       .num_kv_heads = 1,
                       .head_dim = 16,
                       .max_position = 64,
                       .tie_embeddings = tied});
}

std::unique_ptr<Network> make_network(const ModelConfig& config, Rounding rounding) {
  auto network = std::make_unique<Network>(config, at::kCPU);
  network->init(/*seed=*/3);
  network->round_products(rounding);
  network->freeze();
  return network;
}

at::Tensor logits_of(const Network& network) {
  const at::NoGradGuard no_grad;
  PackedBatchBuilder builder;
  builder.add(std::vector<int32_t>{1, 5, 9, 2, 44, 7});
  return network.scaled_logits(network.forward(builder.build(at::kCPU)), 1.0);
}

struct Image {
  std::string layout;
  at::Tensor memory;
};

Image written(const Network& network, Rounding rounding) {
  const auto snapshot = Network::snapshot(network.config(), at::kCPU, rounding, network.merged_flat());
  Image image{snapshot.layout, large_tensor(snapshot.bytes, at::kByte)};
  image.memory.fill_(0xa5);
  snapshot.write(image.memory.mutable_data_ptr());
  return image;
}

void map(Network& network, const Image& image) {
  network.map(image.layout, image.memory.const_data_ptr(), image.memory.numel());
}

class SnapshotOf : public testing::TestWithParam<std::tuple<Rounding, bool>> {};

TEST_P(SnapshotOf, GivesWhoMapsItTheBitsOfTheNetworkItWasTakenFrom) {
  const auto [rounding, tied] = GetParam();
  const auto network = make_network(odd_config(tied), rounding);
  const auto image = written(*network, rounding);
  Network mapped(odd_config(tied), at::kCPU);
  mapped.round_products(rounding);
  map(mapped, image);

  EXPECT_TRUE(at::equal(logits_of(mapped), logits_of(*network)));
  ASSERT_NE(mapped.transformer(0), nullptr);
  const auto* panels = static_cast<const char*>(mapped.transformer(0)->head.panels);
  const auto* begin = static_cast<const char*>(image.memory.const_data_ptr());
  EXPECT_TRUE(begin <= panels && panels < begin + image.memory.numel());
}

TEST_P(SnapshotOf, GivesWayToTheNextOne) {
  const auto [rounding, tied] = GetParam();
  const auto network = make_network(odd_config(tied), rounding);
  const auto first = written(*network, rounding);
  network->flat().mul_(1.25);
  network->freeze();
  const auto second = written(*network, rounding);
  Network mapped(odd_config(tied), at::kCPU);
  mapped.round_products(rounding);
  map(mapped, first);
  map(mapped, second);
  EXPECT_TRUE(at::equal(logits_of(mapped), logits_of(*network)));
}

INSTANTIATE_TEST_SUITE_P(Roundings, SnapshotOf,
                         testing::Combine(testing::Values(Rounding::None, Rounding::BFloat16,
                                                          Rounding::BFloat16Both, Rounding::Float16Both,
                                                          Rounding::Int8),
                                          testing::Bool()));

TEST(WeightSnapshot, NamesItsPanelsAndWhatIsInThem) {
  const auto config = odd_config(true);
  const auto network = make_network(config, Rounding::None);
  const auto layout = [&](const at::Device& device, Rounding rounding) {
    return Network::snapshot(config, device, rounding, network->flat()).layout;
  };
  EXPECT_EQ(layout(at::kCPU, Rounding::None), "panels16-float32");
  EXPECT_EQ(layout(at::kCPU, Rounding::BFloat16), "panels16-bfloat16-pairs");
  EXPECT_EQ(layout(at::kCPU, Rounding::Float16Both), "panels16-float16");
  EXPECT_EQ(layout(at::kCPU, Rounding::Int8), "panels16-int8");
  EXPECT_EQ(layout(at::kCUDA, Rounding::None), kRowsLayout);
}

TEST(WeightSnapshot, OfAShapeThatTheKernelsDoNotComputeHasRows) {
  auto config = odd_config(true);
  config.activation = Activation::Gelu;
  const auto network = make_network(config, Rounding::None);
  const auto image = written(*network, Rounding::None);
  EXPECT_EQ(image.layout, kRowsLayout);
  Network mapped(config, at::kCPU);
  map(mapped, image);
  EXPECT_TRUE(at::equal(logits_of(mapped), logits_of(*network)));
}

TEST(WeightSnapshot, OfAnotherLayoutOrSizeIsRefused) {
  const auto network = make_network(odd_config(true), Rounding::Int8);
  const auto image = written(*network, Rounding::Int8);
  Network mapped(odd_config(true), at::kCPU);
  EXPECT_THROW(map(mapped, image), Error);
  mapped.round_products(Rounding::Int8);
  EXPECT_THROW(mapped.map(image.layout, image.memory.const_data_ptr(), image.memory.numel() - 1), Error);
  EXPECT_THROW(mapped.map(kRowsLayout, image.memory.const_data_ptr(), image.memory.numel()), Error);
}

}  // namespace
}  // namespace sluice::model
