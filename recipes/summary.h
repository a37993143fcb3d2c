// What a finished run has to say: summary.json and the table at its end.
#pragma once

#include <string>

#include "base/json.h"
#include "recipes/recipe.h"
#include "recipes/run_directory.h"

namespace sluice::recipes {

// {"schema": 1, "stages": [...], "evals": [...], "seconds"} from the results of the stages, in run order.
// `seconds` is the time of the whole run, process starts included.
Json summary(const RunDirectory& run, const Recipe& recipe, double seconds);
void write_summary(const RunDirectory& run, const Recipe& recipe, double seconds);

// Of a run whose summary is written: before and after, a few prompts with their completions, and where the
// model is.
std::string summary_table(const RunDirectory& run, const Recipe& recipe);

// Of the stages that have finished, as they counted it themselves.
double finished_seconds(const RunDirectory& run, const Recipe& recipe);

}  // namespace sluice::recipes
