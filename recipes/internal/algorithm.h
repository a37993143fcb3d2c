// The `algorithm` table of a stage: what it says, whether that holds together, and in words.
#pragma once

#include <string>

#include "recipes/recipe.h"

namespace sluice::recipes::internal {

learner::PolicyLearnerOptions read_algorithm(const Json& json);
CriticSpec read_critic(const Json& json, const optim::OptimizerOptions& policy);

// Throws UsageError for what contradicts itself or the stage's rollouts and rewards.
void check_algorithm(const StageSpec& stage);

// One line: the advantages, the loss, the KL and what is done about other policies' tokens.
std::string describe(const learner::PolicyLearnerOptions& options);

}  // namespace sluice::recipes::internal
