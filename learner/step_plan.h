// A batch as a step goes through it: its updates, each over micro-batches that lie on the device, and what is
// computed for these before the first one.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "learner/training_batch.h"

namespace sluice::learner {

// Tensors are [targets]; undefined where nobody asks.
struct StepPart {
  MicroBatch micro;
  double share = 0.0;  // of the rows of its update
  at::Tensor proximal, reference, entropy, keep;
  at::Tensor values, returns;  // of a critic before the step, and what it learns; returns may be NaN
  at::Tensor end_values;       // [bootstrapped completions] likewise
};

struct StepUpdate {
  StepDenominators denominators;
  std::vector<StepPart> parts;
};

struct StepPlan {
  TrainingBatch batch;
  std::vector<StepUpdate> updates;
};

}  // namespace sluice::learner
