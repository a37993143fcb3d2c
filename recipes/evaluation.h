// Figures of a model on the held-out prompts of a recipe's evaluation stage.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "recipes/recipe.h"
#include "recipes/stages.h"

namespace sluice::recipes {

// {"evals": [{"stage", "split", "metric", "n", "value", "stderr"}], "samples": [{"prompt", "completion"}],
// "unscored": completions without a score, which are in no mean}. With a reference directory the KL to that
// model is among the figures, in nats a token. Empty when `stop` asked for it.
std::optional<Json> evaluate_model(const Recipe& recipe, const StageSpec& stage,
                                   const std::filesystem::path& model_directory,
                                   const std::filesystem::path& reference_directory, const StopRequest& stop);

// Its figures for people, one a line.
std::vector<std::string> evaluation_lines(const Json& measured);

}  // namespace sluice::recipes
