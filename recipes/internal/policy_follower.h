// A policy stage on any rank but the first.
#pragma once

#include "recipes/recipe.h"
#include "recipes/run_directory.h"
#include "transport/collective.h"

namespace sluice::recipes {

// Learns from what rank 0 has it learn from, until that ends. Returns what that has it return: 0, or the
// signal that stopped it.
int follow_policy_stage(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                        transport::Collective& ranks);

}  // namespace sluice::recipes
