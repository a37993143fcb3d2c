// The rewards and tools of a recipe: lists of tables, each with a name of its own.
#pragma once

#include "recipes/internal/recipe_values.h"

namespace sluice::recipes {

// [{ use = "exact_answer", weight = 0.5 }, { python = "my.py:reward" }, { model = "models/judge" }]: their
// `use`, `name`, `weight`, `options` and where each stands. Throws UsageError.
Json read_rewards(const toml::node& node, const RecipeSource& source);
// [{ use = "calculator" }, { command = "./search" }]: the same without a weight.
Json read_tools(const toml::node& node, const RecipeSource& source);

}  // namespace sluice::recipes
