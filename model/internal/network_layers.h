// The pieces of a network in the order of its parameters.
#pragma once

#include <vector>

#include "model/internal/block.h"
#include "model/network.h"

namespace sluice::model {

struct Network::Layers {
  // Declares every parameter.
  Layers(Parameters& parameters, const ModelConfig& config, const at::Device& device);
  void bind(const Parameters& parameters);

  const at::Tensor& embedding(const Parameters& parameters) const { return parameters[0]; }
  const at::Tensor& positions(const Parameters& parameters) const { return parameters[1]; }

  std::vector<Block> blocks;
  Norm last_norm;
  std::vector<Rope> ropes;
};

}  // namespace sluice::model
