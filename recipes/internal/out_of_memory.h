// What a role says when there is no memory left: what it was doing, what it wanted, and what to make smaller.
#pragma once

#include <functional>
#include <string>

#include "recipes/recipe.h"

namespace sluice::recipes::internal {

// Does the work. Where the memory of this process or of a device runs out in it, EnvironmentError is thrown
// in place of what came, with `advice` at its end.
int with_memory_advice(const std::string& advice, const std::function<int()>& work);

// For the process that a stage is, and for one of its actors.
std::string stage_memory_advice(const StageSpec& stage, bool has_adapters);
std::string actor_memory_advice(const StageSpec& stage);

}  // namespace sluice::recipes::internal
