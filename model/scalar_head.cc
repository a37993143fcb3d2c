#include "model/scalar_head.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/internal/normal_numbers.h"

namespace sluice::model {
namespace {

at::Tensor random_head(int64_t hidden, uint64_t seed, uint64_t parameter) {
  auto head = at::empty({1, hidden}, at::kFloat);
  fill_normal({head.mutable_data_ptr<float>(), static_cast<size_t>(hidden)},
              1.0 / std::sqrt(static_cast<double>(hidden + 1)), seed, parameter);
  return head;
}

}  // namespace

ModelConfig scalar_head_config(const ModelConfig& policy) {
  ModelConfig config = policy;
  config.scalar_head = true;
  config.tie_embeddings = false;
  return config;
}

std::unique_ptr<Network> with_scalar_head(const Network& policy, uint64_t seed) {
  require(!policy.config().scalar_head, "with_scalar_head: the network has one already");
  const auto& from = policy.weights();
  const auto flat = policy.merged_flat();
  auto network =
      std::make_unique<Network>(scalar_head_config(policy.config()), policy.device(), flat.scalar_type());
  // The trunk's parameters stand in the same places; the head is what comes after them.
  const size_t trunk = network->weights().slots().size() - 1;
  const auto place = [&](const ParameterSlot& slot) {
    return static_cast<size_t>(network->weights().find(slot.name));
  };
  network->load(
      [&](const ParameterSlot& slot) {
        const size_t at = place(slot);
        if (at == trunk) return random_head(policy.config().hidden_size, seed, at);
        if (slot.kind == ParameterKind::Buffer) return from[at].detach();
        return flat.narrow(0, slot.offset, slot.count).view(slot.shape).detach();
      },
      [&](const ParameterSlot& slot) { return from.slots()[std::min(place(slot), trunk - 1)].stored_type; });
  return network;
}

}  // namespace sluice::model
