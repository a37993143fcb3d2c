// The losses of a reward model on completions that were compared (spec section 10.1).
//
// A sum divided by the count of the whole optimizer step, so a step may be cut into micro-batches as one
// likes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace sluice::sft {

struct RewardLossInputs {
  at::Tensor chosen, rejected;  // [pairs] rewards, carry grad
  at::Tensor margin;            // [pairs] constant: by how much chosen is to be ahead; undefined: 0
};

struct RewardLossOptions {
  double center_coefficient = 0.0;  // times (chosen + rejected)^2, which keeps rewards about 0
};

// For metrics: over the pairs, so accuracy is correct / pairs and the mean reward is rewards / (2 * pairs).
struct RewardLossSums {
  int64_t pairs = 0;
  double correct = 0;  // pairs whose chosen completion has the higher reward, not the same one
  double margin = 0;   // by how much it has
  double rewards = 0;  // of both
  double squares = 0;  // of both
  double min_reward = std::numeric_limits<double>::infinity();
  double max_reward = -std::numeric_limits<double>::infinity();
};

struct RewardLoss {
  at::Tensor loss;  // scalar: this micro-batch's share of the step's loss
  RewardLossSums sums;
};

// Bradley-Terry. Divides by `step_pairs`, those of the whole optimizer step. Throws Error when the shapes
// disagree. No pair gives a zero connected to the graph.
RewardLoss reward_loss(const RewardLossInputs& in, int64_t step_pairs, const RewardLossOptions& options = {});

// Several ranked completions of a prompt (InstructGPT 2022): the mean of the Bradley-Terry losses of all its
// pairs, summed over the prompts and divided by `step_prompts`. `rewards` [completions] has the prompts' end
// to end, the best first, and `ranked` says how many each has, at least 2. The metrics count every pair.
RewardLoss ranking_loss(const at::Tensor& rewards, const std::vector<int64_t>& ranked, int64_t step_prompts);

}  // namespace sluice::sft
