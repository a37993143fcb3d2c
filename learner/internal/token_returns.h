// What the tokens of a step are worth where it is not what their completion is worth: with a KL in the
// reward, a discount or a critic (spec sections 3.2 and 5).
#pragma once

#include <vector>

#include "learner/policy_learner.h"
#include "learner/step_plan.h"

namespace sluice::learner::internal {

bool has_token_returns(const PolicyLearnerOptions& options);

// Gives every target its advantage, and with a critic its return, from the whole batch at once; reports kl,
// kl/sequence_mean, advantages/*, returns/*, values/* and vf_explained_var. `coefficient` weighs the KL where
// it is in the reward. Reads the parts' reference, values and, where defined, proximal log-probs. A
// completion whose KL is not finite stays out of what others are measured against, and has advantages that
// are not finite either.
void put_token_returns(const TrainingBatch& batch, const PolicyLearnerOptions& options, double coefficient,
                       std::vector<StepUpdate>& updates, StepMetrics& metrics);

}  // namespace sluice::learner::internal
