// Whether the rows that a stage asks have the columns that its built-in rewards read.
#pragma once

#include "recipes/recipe.h"
#include "text/dataset.h"

namespace sluice::recipes::internal {

// Throws UsageError for a column that no row has, with the reward that reads it and the nearest one there is.
// A row that lacks what others have is left unscored in the run, and counted.
void check_reward_columns(const StageSpec& stage, text::Rows& rows);

}  // namespace sluice::recipes::internal
