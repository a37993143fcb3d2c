// What a rank has computed of its own micro-batches, and the others need: whatever looks at the whole step.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "learner/step_plan.h"
#include "transport/collective.h"

namespace sluice::learner::internal {

// Fills in on every rank what `of_part` names of each part, [targets] or, with `ends`, [bootstrapped
// completions]; each rank has it of the parts that are its own.
void share_values(transport::Collective& ranks, std::vector<StepUpdate>& updates,
                  at::Tensor StepPart::*of_part, bool ends = false);

}  // namespace sluice::learner::internal
