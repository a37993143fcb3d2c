// What a policy stage carries from step to step beside weights and moments, and how sound its numbers are.
#pragma once

#include <vector>

#include "learner/policy_learner.h"
#include "learner/rollout_server.h"
#include "learner/value_tracker.h"
#include "recipes/internal/step_watch.h"

namespace sluice::recipes {

// Of a step that `network` has just been through. A few completions of its batch are computed with the new
// weights: a policy that gives them no finite log-probs is neither published nor kept.
learner::StepHealth health_of(const learner::StepFault& fault, const model::Network& network,
                              const learner::TrainingBatch& batch, const learner::StepMetrics& metrics,
                              double temperature);

std::vector<learner::PoisonedGroup> poisoned_of(const learner::TrainingBatch& batch,
                                                const learner::StepFault& fault);

}  // namespace sluice::recipes
