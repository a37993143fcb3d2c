// What the loss gets for entropy (spec section 6.13).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace sluice::learner {

// -coefficient times the mean entropy of the step's chosen tokens: this micro-batch's share of it. `entropy`
// [tokens] carries grad.
at::Tensor entropy_bonus(const at::Tensor& entropy, int64_t step_tokens, double coefficient);

// A coefficient that rises while entropy is at its target or below (Skywork-OR1 2025). What a step uses is
// what the one before it left, and nothing where that one's entropy was above the target.
struct EntropyController {
  double coefficient = 0.0;
  double target = 0.2;
  double delta = 0.005;
  double least = 0.0, most = 1.0;
  std::optional<double> measured = {};  // by the last step

  double applied() const { return measured && *measured <= target ? coefficient : 0.0; }
  void update(double entropy);
};

}  // namespace sluice::learner
