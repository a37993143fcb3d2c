// Reward models by the stages of the recipe that train them: `rewards = [{ use = "reward_model", stage =
// "NAME" }]`.
#pragma once

#include "recipes/recipe.h"
#include "recipes/run_directory.h"

namespace sluice::recipes::internal {

bool names_a_stage(const rewards::RewardSpec& reward);

// Throws UsageError for one that is no earlier stage that trains a reward model, and for such a stage in a
// recipe with settings that it does not have.
void check_reward_models(const Recipe& recipe);

// The stage with the directories in the run in place of such names. Throws DataError for one that is not
// trained yet.
StageSpec with_reward_models(const RunDirectory& run, StageSpec stage);

}  // namespace sluice::recipes::internal
