// Figures of a model on the held-out prompts of a recipe's evaluation stage.
#pragma once

#include <filesystem>

#include "base/json.h"
#include "recipes/recipe.h"

namespace sluice::recipes {

// {"evals": [{"stage", "split", "metric", "n", "value", "stderr"}], "samples": [{"prompt", "completion"}]}.
// With a reference directory the KL to that model is among the figures, in nats a token.
Json evaluate_model(const Recipe& recipe, const StageSpec& stage,
                    const std::filesystem::path& model_directory,
                    const std::filesystem::path& reference_directory);

}  // namespace sluice::recipes
