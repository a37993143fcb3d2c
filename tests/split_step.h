// What the tests of split invariance share: gradients of a step that was cut differently are the same.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "optim/optimizer.h"
#include "tests/tiny_network.h"
#include "transport/collective.h"

namespace sluice {

// Rows of one forward: all at once, some sequences, each by itself.
inline constexpr int64_t kSplits[] = {1 << 20, 60, 1};

inline std::unique_ptr<model::Network> tiny_network_of(at::ScalarType type, uint64_t seed) {
  auto network = std::make_unique<model::Network>(tiny_config(), at::kCPU, type);
  network->init(seed);
  return network;
}

inline at::Tensor gradient_of(const model::Network& network) {
  std::vector<at::Tensor> gradients;
  for (const auto& parameter : network.parameters()) gradients.push_back(parameter.tensor.grad().view(-1));
  return at::cat(gradients);
}

// An optimizer that moves another network: a trainer that has it leaves its gradient in its own, which may be
// of float64, as none that is moved.
struct OptimizerOfAnother {
  std::unique_ptr<model::Network> moved = tiny_network();
  transport::SoloCollective alone;
  optim::Optimizer optimizer{*moved, alone, {}, /*total_steps=*/10};
};

// Relative to the norm of `whole`, which must not vanish.
inline void expect_same_gradient(const at::Tensor& gradient, const at::Tensor& whole) {
  const double norm = whole.norm().item<double>();
  EXPECT_GT(norm, 1e-6);
  EXPECT_LE((gradient - whole).norm().item<double>(),
            norm * (whole.scalar_type() == at::kDouble ? 1e-10 : 1e-5));
}

}  // namespace sluice
