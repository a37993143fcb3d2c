// Other prompts in place of those that taught nothing (DAPO's dynamic sampling, 2025; spec section 4.4).
#pragma once

#include "buffers/ledger.h"
#include "learner/policy_learner.h"
#include "learner/training_batch.h"

namespace sluice::learner {

// What becomes of a group without spread when its slot has no refill left.
enum class RefillFallback {
  Keep,    // it is trained on all the same
  Shrink,  // it is dropped too, and the batch is shorter
  Stop,    // a HealthError ends the run
};

// Of one step: `refills`, the prompts tried in place of others; `refills/dropped`, the groups dropped for
// want of spread; `refills/fallback`, the slots for which all refills were in vain, kept or missing.
StepMetrics refill_metrics(const TrainingBatch& batch, const buffers::RefillCounts& counts);

}  // namespace sluice::learner
