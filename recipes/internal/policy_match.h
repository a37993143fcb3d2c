// Whether actors and learner agree on a policy's log-probs (promise 3).
#pragma once

#include <ATen/core/Tensor.h>

#include "learner/policy_learner.h"
#include "learner/training_batch.h"
#include "model/network.h"
#include "recipes/recipe.h"

namespace sluice::recipes {

// Computes the first group of a batch again with the weights it was sampled from, `flat`, in a network like
// `policy`: logprob_diff/mean and max. Throws Error above the bounds.
learner::StepMetrics check_match(const learner::TrainingBatch& batch, const at::Tensor& flat,
                                 const model::Network& policy, const Recipe& recipe, const StageSpec& stage);

}  // namespace sluice::recipes
