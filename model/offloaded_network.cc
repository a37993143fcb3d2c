#include "model/offloaded_network.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "base/sha256.h"
#include "model/internal/weight_map.h"
#include "model/model_directory.h"
#include "model/tensor_bytes.h"

namespace sluice::model {

// Memory for a pass. That of the CPU comes from the heap and goes back to it, that of a GPU from the
// allocator that activations come from: behind the pass it is theirs.
class OffloadedNetwork::Window {
 public:
  explicit Window(Network& network) : network_(network) {
    network_.bind_window(at::empty({network_.window_numbers()}, at::TensorOptions(network_.device())));
  }
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;
  ~Window() { network_.bind_window({}); }

 private:
  Network& network_;
};

OffloadedNetwork::OffloadedNetwork(const std::filesystem::path& directory, const at::Device& device,
                                   Rounding rounding)
    : files_([&] {
        check_model(directory);
        return std::make_unique<const WeightMap>(directory, read_model_config(directory), at::kFloat);
      }()),
      network_(Network::without_weights(read_model_config(directory), device)) {
  network_->round_products(rounding);
  network_->bring_blocks(this);
  const auto& slots = network_->weights().slots();
  for (int64_t block = 0; block < network_->config().num_layers(); ++block) {
    const int64_t first = network_->block_numbers(block).first;
    const auto found = std::ranges::lower_bound(slots, first, {}, &ParameterSlot::offset);
    first_slots_.push_back(static_cast<size_t>(found - slots.begin()));
  }
  const auto last = network_->block_numbers(network_->config().num_layers() - 1);
  const auto behind = std::ranges::lower_bound(slots, last.first + last.count, {}, &ParameterSlot::offset);
  first_slots_.push_back(static_cast<size_t>(behind - slots.begin()));
  if (device.is_cpu()) return;
  for (const auto& slot : slots) {
    pinned_.push_back(files_->read(slot).to(at::kFloat).contiguous().pin_memory());
  }
}

OffloadedNetwork::~OffloadedNetwork() = default;

void OffloadedNetwork::bring(size_t first, size_t end) const {
  const at::NoGradGuard no_grad;
  for (size_t i = first; i < end; ++i) {
    const auto& there = network_->parameters()[i].tensor;
    // Copies and products of a GPU go one after another: what computes has what was brought for it.
    if (pinned_.empty()) {
      there.copy_(files_->read(network_->weights().slots()[i]));
    } else {
      there.copy_(pinned_[i], /*non_blocking=*/true);
    }
  }
}

void OffloadedNetwork::gather(int64_t block) {
  const auto at = static_cast<size_t>(block);
  bring(first_slots_[at], first_slots_[at + 1]);
}

BatchLogprobs OffloadedNetwork::logprobs(const PackedBatch& batch, const TokenTargets& targets,
                                         double temperature) const {
  const at::NoGradGuard no_grad;
  const Window window(*network_);
  bring(0, first_slots_.front());
  bring(first_slots_.back(), network_->weights().slots().size());
  return network_->logprobs(batch, targets, temperature);
}

std::string OffloadedNetwork::weights_hash() const {
  Sha256 hash;
  for (size_t i = 0; i < network_->weights().slots().size(); ++i) {
    const auto& slot = network_->weights().slots()[i];
    const auto numbers = pinned_.empty() ? files_->read(slot).to(at::kFloat).contiguous() : pinned_[i];
    hash.add(bytes_of(numbers));
  }
  return hash.hex();
}

}  // namespace sluice::model
