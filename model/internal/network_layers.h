// The pieces of a network in the order of its parameters.
#pragma once

#include <optional>
#include <vector>

#include "model/internal/block.h"
#include "model/internal/raw_network.h"
#include "model/network.h"

namespace sluice::model {

struct Network::Layers {
  // Declares every parameter.
  Layers(Parameters& parameters, const ModelConfig& config, const at::Device& device);
  Weight bind(Parameters& parameters, const ModelConfig& config);  // returns the head's
  void describe(const Parameters& parameters, const ModelConfig& config, const Weight& head);
  void reach(const ModelConfig& config, int64_t max_position);  // rotary tables of `raw`

  const at::Tensor& embedding(const Parameters& parameters) const { return parameters[0]; }
  const at::Tensor& positions(const Parameters& parameters) const { return parameters[1]; }

  std::vector<Block> blocks;
  Norm last_norm;
  std::vector<Rope> ropes;
  std::optional<RawNetwork> raw;  // of weights that do not change, where the kernels serve such a network
};

}  // namespace sluice::model
