#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "model/families/family.h"
#include "model/internal/network_layers.h"
#include "model/internal/normal_numbers.h"
#include "model/large_tensor.h"
#include "model/network.h"
#include "model/tensor_bytes.h"

namespace sluice::model {
namespace {

constexpr double kInitStd = 0.02;

// What a network on that device maps, with products rounded as its parameters say.
struct ImageShape {
  std::string layout;
  int64_t bytes = 0;
};

ImageShape rows_of(const Parameters& parameters) {
  return {std::string(kRowsLayout), parameters.num_numbers() * static_cast<int64_t>(sizeof(float))};
}

ImageShape image_of(const ModelConfig& config, const at::Device& device, const Parameters& parameters) {
  if (!device.is_cpu() || !kernels_serve(config)) return rows_of(parameters);
  const auto layout = parameters.image_layout();
  const auto type = layout.panel_type();
  return {"panels" + std::to_string(cpu::kPanelColumns) +
              (type == at::kChar       ? "-int8"
               : type == at::kBFloat16 ? "-bfloat16-pairs"
               : type == at::kHalf     ? "-float16"
                                       : "-float32"),
          layout.bytes()};
}

void check_dtype(at::ScalarType dtype) {
  require(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kDouble, "network: weights of type ",
          c10::toString(dtype), "; float32, bfloat16 and float64 are supported");
}

}  // namespace

Network::Layers::Layers(Parameters& parameters, const ModelConfig& config, const at::Device& device) {
  const auto& names = config.family->names;
  const auto table = [&](std::string_view name, int64_t rows, bool is_head) {
    parameters.add({.name = std::string(name) + ".weight",
                    .shape = {rows, config.hidden_size},
                    .kind = ParameterKind::Table,
                    .is_head = is_head});
  };
  table(names.embedding, config.vocab_size, config.tie_embeddings);
  if (config.learned_positions) table(names.positions, config.max_position, false);
  for (int64_t i = 0; i < config.num_layers(); ++i) blocks.emplace_back(parameters, config, i);
  last_norm =
      Norm(parameters, std::string(names.last_norm), config.hidden_size, config.norm, config.norm_eps);
  if (!config.tie_embeddings || config.scalar_head) {
    parameters.add({.name = std::string(config.scalar_head ? names.score : names.head) + ".weight",
                    .shape = {config.scalar_head ? 1 : config.vocab_size, config.hidden_size},
                    .is_head = true});
  }
  for (const auto& rope : config.ropes) ropes.emplace_back(rope, device);
}

Weight Network::Layers::bind(Parameters& parameters, const ModelConfig& config) {
  for (Block& block : blocks) block.bind(parameters);
  last_norm.bind(parameters);
  if (config.scalar_head) return {};
  return parameters.weight(config.tie_embeddings ? 0 : parameters.slots().size() - 1, 1);
}

Network::Network(const ModelConfig& config, const at::Device& device, at::ScalarType dtype)
    : config_(config), device_(device) {
  check_dtype(dtype);
  layers_ = std::make_unique<Layers>(weights_, config_, device_);
  bind(large_tensor(weights_.num_numbers(), at::TensorOptions().dtype(dtype).device(device)),
       /*requires_grad=*/dtype != at::kBFloat16);
}

Network::Network(const ModelConfig& config, const at::Device& device, NoWeights)
    : config_(config), device_(device), has_window_(true) {
  layers_ = std::make_unique<Layers>(weights_, config_, device_);
  bind_window({});
}

std::unique_ptr<Network> Network::without_weights(const ModelConfig& config, const at::Device& device) {
  return std::unique_ptr<Network>(new Network(config, device, NoWeights{}));
}

Network::~Network() = default;

Parameters Network::declare(const ModelConfig& config) {
  Parameters parameters;
  const Layers layers(parameters, config, at::kCPU);
  return parameters;
}

void Network::bind(const at::Tensor& flat, bool requires_grad, bool constant) {
  weights_.bind(flat, requires_grad, constant);
  bind_layers();
}

void Network::bind_layers() {
  head_ = layers_->bind(weights_, config_);
  head_.rows = at::Tensor();
  layers_->describe(weights_, config_, config_.scalar_head ? Weight() : head());
}

int64_t Network::window_numbers() const {
  int64_t of_blocks = 0, largest = 0;
  for (const Block& block : layers_->blocks) {
    of_blocks += block.numbers().count;
    largest = std::max(largest, block.numbers().count);
  }
  return weights_.num_numbers() - of_blocks + largest;
}

void Network::bind_window(const at::Tensor& memory) {
  const int64_t numbers = window_numbers();
  require(has_window_, "network: a network with weights of its own has no window");
  require(!memory.defined() || (memory.dim() == 1 && memory.numel() == numbers), "network: a window of ",
          memory.sizes(), ", it has ", numbers, " numbers");
  const auto first = layers_->blocks.front().numbers(), last = layers_->blocks.back().numbers();
  const int64_t end = last.first + last.count, rest = weights_.num_numbers() - (end - first.first);
  std::vector<int64_t> places;
  auto block = layers_->blocks.begin();
  for (const auto& slot : weights_.slots()) {
    if (slot.offset < first.first || slot.offset >= end) {
      places.push_back(slot.offset < end ? slot.offset : slot.offset - (end - first.first));
      continue;
    }
    while (slot.offset >= block->numbers().first + block->numbers().count) ++block;
    places.push_back(rest + slot.offset - block->numbers().first);
  }
  const auto nothing = [&] { return at::empty({numbers}, at::TensorOptions(at::kFloat).device(at::kMeta)); };
  weights_.bind_places(memory.defined() ? memory : nothing(), std::move(places));
  bind_layers();
}

void Network::freeze() { bind(flat(), /*requires_grad=*/false, /*constant=*/true); }

void Network::round_products(Rounding rounding) {
  require(rounding == Rounding::None || flat().scalar_type() == at::kFloat,
          "network: only weights of float32 are rounded, these are ", flat().dtype().name());
  const bool served = device_.is_cpu() && kernels_serve(config_);
  require(
      rounding != Rounding::Int8 || served,
      "network: only weights on the CPU, of a shape that the kernels' own forward computes, are rounded to "
      "int8");
  require(rounding == Rounding::None || !config_.latent,
          "network: latent attention multiplies with its weights as they are");
  require(adapter_ == nullptr, "network: weights are rounded before there are adapters");
  weights_.set_rounding(rounding);
  if (has_window_) return bind_window({});
  bind(flat(), weights_[0].requires_grad(), weights_.constant());
}

void Network::init(uint64_t seed) {
  const bool in_place = device_.is_cpu() && flat().scalar_type() == at::kFloat;
  auto values = in_place ? flat() : at::empty({weights_.num_numbers()}, at::kFloat);
  uint64_t parameter = 0;
  for (const auto& slot : weights_.slots()) {
    float* out = values.mutable_data_ptr<float>() + slot.offset;
    if (slot.kind == ParameterKind::Matrix || slot.kind == ParameterKind::Table) {
      fill_normal({out, static_cast<size_t>(slot.count)}, kInitStd, seed, parameter);
    } else {
      std::fill_n(out, slot.count, static_cast<float>(slot.initial));
    }
    ++parameter;
  }
  if (!in_place) flat().copy_(values);
}

void Network::load(const std::function<at::Tensor(const ParameterSlot&)>& read,
                   const std::function<at::ScalarType(const ParameterSlot&)>& stored_type) {
  const c10::NoGradGuard no_grad;
  for (size_t i = 0; i < weights_.slots().size(); ++i) {
    const auto& slot = weights_.slots()[i];
    weights_[i].detach().copy_(read(slot));
    weights_.set_stored_type(i, stored_type(slot));
  }
}

at::Tensor Network::merged_flat() const {
  require(!has_window_, "network: it has one block of its weights at a time");
  if (adapter_ == nullptr || !uses_adapter_) return flat();
  const c10::NoGradGuard no_grad;
  auto merged = flat().clone();
  add_deltas(merged);
  return merged;
}

std::string Network::weights_hash() const {
  const auto flat = merged_flat().to(at::kCPU).contiguous();
  return sha256_hex(bytes_of(flat));
}

WeightSnapshot Network::snapshot(const ModelConfig& config, const at::Device& device, Rounding rounding,
                                 at::Tensor flat) {
  require(flat.is_cpu() && flat.scalar_type() == at::kFloat && flat.is_contiguous(),
          "network: weights are published from float32 on the CPU, these are ", flat.dtype().name(), " on ",
          flat.device().str());
  require(!config.scalar_head, "network: weights are published to sample from, this one has a scalar head");
  auto declared = declare(config);
  declared.set_rounding(rounding);
  require(flat.numel() == declared.num_numbers(), "network: ", flat.numel(), " numbers to publish, it has ",
          declared.num_numbers());
  const auto shape = image_of(config, device, declared);
  if (shape.layout == kRowsLayout) {
    return {shape.layout, shape.bytes,
            [flat](void* to) { std::memcpy(to, flat.const_data_ptr(), flat.nbytes()); }};
  }
  return {shape.layout, shape.bytes, [config, rounding, flat = std::move(flat)](void* image) {
            Parameters parameters;
            Layers layers(parameters, config, at::kCPU);
            parameters.set_rounding(rounding);
            parameters.bind(flat, /*requires_grad=*/false, /*constant=*/true);
            parameters.write_image(image);
            layers.bind(parameters, config);
          }};
}

int64_t Network::snapshot_bytes(const ModelConfig& config, const at::Device& device, Rounding rounding) {
  auto declared = declare(config);
  declared.set_rounding(rounding);
  return image_of(config, device, declared).bytes;
}

void Network::map(std::string_view layout, const void* image, int64_t bytes) {
  require(adapter_ == nullptr, "network: a network with adapters maps no weights");
  const bool rows = layout == kRowsLayout;
  const auto wanted = rows ? rows_of(weights_) : image_of(config_, device_, weights_);
  require(layout == wanted.layout, "network: the weights to map are \"", layout,
          "\", this network computes with \"", wanted.layout, "\"");
  require(bytes == wanted.bytes, "network: mapped weights have ", bytes, " bytes, the network has ",
          wanted.bytes);
  if (!rows) {
    weights_.bind_image(image);
    return bind_layers();
  }
  // The memory may be read-only: from here on nothing writes to it.
  const auto flat = at::from_blob(const_cast<void*>(image), {weights_.num_numbers()},
                                  at::TensorOptions().dtype(at::kFloat));
  if (device_.is_cpu()) return bind(flat, /*requires_grad=*/false, /*constant=*/true);
  const c10::NoGradGuard no_grad;
  weights_.flat().copy_(flat);
}

}  // namespace sluice::model
