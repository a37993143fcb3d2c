// The loss of completions that are good or bad by themselves (KTO 2024; spec section 9.4).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sluice::learner {

// The point from which gains and losses are felt: max(0, the mean log-ratio of mismatched completions) of
// [examples] log-probs each, constant. An example's mismatched completion is the one before it in the step,
// under its own prompt, the first having the last one's.
//
// A mean, and cut at 0: it takes the whole step at once, on all ranks, so that cutting the step into
// micro-batches changes nothing. Throws Error for fewer than two examples, where nothing is mismatched.
double kto_z0(const at::Tensor& policy_mismatched, const at::Tensor& ref_mismatched);

struct KtoLossInputs {
  at::Tensor policy_logps;  // [examples] log-probs of completions, carry grad
  at::Tensor ref_logps;     // [examples] constant
  at::Tensor desirable;     // [examples] bool
};

struct KtoLossOptions {
  double beta = 0.1;
  double desirable_weight = 1.0;
  double undesirable_weight = 1.0;
};

// For metrics: sums over the examples of a class, which may have none. A reward is beta times the log-ratio.
struct KtoClassSums {
  int64_t examples = 0;
  double rewards = 0, logps = 0;
};

struct KtoLoss {
  at::Tensor loss;          // scalar: this micro-batch's share of the step's loss
  at::Tensor example_loss;  // [examples] detached
  KtoClassSums desirable, undesirable;
};

// `z0` is the whole step's; with 0 this is APO-zero of unpaired examples (2024), which has no mismatched
// ones. Divides by `step_examples`, those of the whole optimizer step. Throws Error when the shapes disagree.
// No example gives a zero connected to the graph.
KtoLoss kto_loss(const KtoLossInputs& in, double z0, int64_t step_examples,
                 const KtoLossOptions& options = {});

}  // namespace sluice::learner
