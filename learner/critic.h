// The value model of PPO (2017), learned beside the policy: what the state before each chosen token is worth.
#pragma once

#include <ATen/core/Tensor.h>

#include "learner/policy_learner.h"
#include "learner/training_batch.h"
#include "model/network.h"
#include "optim/optimizer.h"

namespace sluice::learner {

// What states are worth, float32 without gradients.
struct CriticValues {
  at::Tensor tokens;  // [targets] of those before the tokens
  at::Tensor ends;    // [bootstrapped completions] of those behind the last token, in order
};

// Owns nothing; not safe from several threads at once.
class Critic {
 public:
  // A network with a scalar head, and what moves it. Values count as at most `clip` away from those before
  // the step (value_loss()).
  Critic(model::Network& network, optim::Optimizer& optimizer, double clip);

  CriticValues values(const MicroBatch& micro) const;

  // An update as the policy's: begin(), learn() over its micro-batches, update(). Tokens whose return is NaN
  // count in the mean's denominator and have no gradient.
  void begin();
  void learn(const MicroBatch& micro, const at::Tensor& old_values, const at::Tensor& returns,
             const StepDenominators& denominators);
  // Skipped on all ranks where one has called reject(), or its loss or gradient is not finite: then false,
  // unless that is an overflow of float16.
  bool update();
  void reject() { optimizer_.reject(); }

  // Of the updates since it was last asked, over all ranks: value_loss and critic/grad_norm, their means;
  // vf_clipfrac, the share of tokens past the clip; critic/learning_rate; and behind "critic/" those of
  // Optimizer::metrics().
  StepMetrics take_metrics();

 private:
  struct Sums {
    int64_t updates = 0, norms = 0, tokens = 0;  // norms: of gradients that did not overflow
    double loss = 0.0, clipped = 0.0, grad_norm = 0.0, lr = 0.0;
  };

  model::Network& network_;
  optim::Optimizer& optimizer_;
  const double clip_;
  double update_loss_ = 0.0;  // of the update under way
  Sums sums_;
};

}  // namespace sluice::learner
