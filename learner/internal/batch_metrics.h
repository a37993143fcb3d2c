// What is known of a step before its forward.
#pragma once

#include <cstdint>

#include "learner/policy_learner.h"

namespace sluice::learner::internal {

// advantages/* and staleness/*, over the chosen tokens of the whole step. `version` is the policy's before
// it.
StepMetrics batch_metrics(const TrainingBatch& batch, int64_t version);

}  // namespace sluice::learner::internal
