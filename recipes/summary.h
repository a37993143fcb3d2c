// What a finished run has to say: summary.json and the table at its end.
#pragma once

#include <string>

#include "base/json.h"
#include "recipes/recipe.h"
#include "recipes/run_directory.h"

namespace sluice::recipes {

// {"schema": 1, "stages": [...], "evals": [...], "seconds"} from the results of the stages, in run order.
Json summary(const RunDirectory& run, const Recipe& recipe);
void write_summary(const RunDirectory& run, const Recipe& recipe);

// Before and after, a few prompts with their completions, and where the model is: for people.
std::string summary_table(const RunDirectory& run, const Recipe& recipe);

}  // namespace sluice::recipes
