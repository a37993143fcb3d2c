#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/files.h"
#include "base/philox.h"
#include "model/internal/parameter_layout.h"
#include "model/internal/rope_table.h"
#include "model/network.h"

namespace sluice::model {
namespace {

constexpr double kInitStd = 0.02;
constexpr double kTwoTo32 = 4294967296.0;

// Two numbers of Normal(0, 1) from 64 random bits (Box and Muller 1958).
std::pair<double, double> normal_pair(uint64_t bits) {
  const double radius_bits = static_cast<double>(bits >> 32) + 0.5;  // never 0
  const double angle_bits = static_cast<double>(bits & 0xffffffffu);
  const double radius = std::sqrt(-2.0 * std::log(radius_bits / kTwoTo32));
  const double angle = 2.0 * std::numbers::pi * angle_bits / kTwoTo32;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

void fill_normal(float* out, int64_t count, uint64_t seed, uint64_t parameter) {
  for (int64_t i = 0; i < count; i += 2) {
    const auto [first, second] =
        normal_pair(random_bits(seed, RandomUse::Init, parameter, static_cast<uint64_t>(i / 2)));
    out[i] = static_cast<float>(kInitStd * first);
    if (i + 1 < count) out[i + 1] = static_cast<float>(kInitStd * second);
  }
}

}  // namespace

Network::Network(const ModelConfig& config, const at::Device& device) : config_(config), device_(device) {
  flat_ = at::empty({config.num_parameters()}, at::TensorOptions().dtype(at::kFloat).device(device));
  make_views(/*requires_grad=*/true);
  std::tie(cos_, sin_) = rope_tables(config.rope, config.head_dim, config.max_position, device);
}

void Network::make_views(bool requires_grad) {
  parameters_.clear();
  layers_.clear();
  const auto layout = parameter_layout(config_);
  for (const auto& slot : layout) {
    auto leaf = flat_.narrow(0, slot.offset, slot.count).view(slot.shape).detach();
    parameters_.push_back({slot.name, leaf.set_requires_grad(requires_grad)});
  }
  const auto fused = [&](size_t first, size_t count) {
    FusedWeight weight;
    int64_t numbers = 0;
    for (size_t i = first; i < first + count; ++i) {
      weight.parts.push_back(parameters_[i].tensor);
      numbers += layout[i].count;
    }
    weight.all = flat_.narrow(0, layout[first].offset, numbers).view({-1, config_.hidden_size});
    return weight;
  };
  constexpr size_t kPerLayer = 9;
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const size_t at = 1 + static_cast<size_t>(i) * kPerLayer;
    layers_.push_back({.input_norm = parameters_[at].tensor,
                       .qkv = fused(at + 1, 3),
                       .output = parameters_[at + 4].tensor,
                       .mlp_norm = parameters_[at + 5].tensor,
                       .gate_up = fused(at + 6, 2),
                       .down = parameters_[at + 8].tensor});
  }
}

void Network::init(uint64_t seed) {
  auto values = at::empty({config_.num_parameters()}, at::kFloat);
  uint64_t parameter = 0;
  for (const auto& slot : parameter_layout(config_)) {
    float* out = values.mutable_data_ptr<float>() + slot.offset;
    if (slot.is_norm) {
      std::fill_n(out, slot.count, 1.0f);
    } else {
      fill_normal(out, slot.count, seed, parameter);
    }
    ++parameter;
  }
  flat_.copy_(values);
}

WeightSnapshot Network::snapshot(int64_t version) const {
  auto flat = at::empty({flat_.numel()}, at::kFloat);
  flat.copy_(flat_);
  const std::string_view bytes(static_cast<const char*>(flat.const_data_ptr()), flat.nbytes());
  return {version, flat, sha256_hex(bytes)};
}

void Network::load(const std::vector<NamedTensor>& tensors) {
  const auto layout = parameter_layout(config_);
  check_tensors(layout, tensors, "network");
  for (const auto& slot : layout) {
    for (const auto& [name, tensor] : tensors) {
      if (name == slot.name) flat_.narrow(0, slot.offset, slot.count).view(slot.shape).copy_(tensor.detach());
    }
  }
}

void Network::map(const float* bytes, int64_t count) {
  require(device_.is_cpu(), "network: weights can be mapped on the CPU only, this one is on ", device_.str());
  require(count == flat_.numel(), "network: mapped weights have ", count, " numbers, the network has ",
          flat_.numel());
  // The memory may be read-only: from here on nothing writes to flat_.
  flat_ = at::from_blob(const_cast<float*>(bytes), {count}, at::TensorOptions().dtype(at::kFloat));
  make_views(/*requires_grad=*/false);
}

}  // namespace sluice::model
