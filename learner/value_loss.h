// The critic's loss (PPO 2017; spec section 6.12).
#pragma once

#include <ATen/core/Tensor.h>

namespace sluice::learner {

struct ValueLossInputs {
  at::Tensor values;      // [tokens] carries grad
  at::Tensor old_values;  // [tokens] of the critic before the step, constant
  at::Tensor returns;     // [tokens] constant
  at::Tensor weights;     // [tokens] from aggregation_weights()
};

struct ValueLoss {
  at::Tensor loss;     // scalar: this micro-batch's share of half the clipped squared error
  double clipped = 0;  // tokens whose clipped term is the larger one
};

// Values count as at most `clip` away from the old ones where that makes the error larger. Throws Error when
// shapes disagree.
ValueLoss value_loss(const ValueLossInputs& in, double clip = 0.2);

// 1 - var(returns - values) / var(returns): 1 of a perfect critic, 0 of one that says the mean.
double explained_variance(const at::Tensor& returns, const at::Tensor& values);

}  // namespace sluice::learner
