// report.html: a run in one file that can be sent to somebody, without scripts and without anything to load.
#pragma once

#include <string>

#include "recipes/recipe.h"
#include "recipes/run_directory.h"

namespace sluice::recipes {

// What came before and after, curves, alarms, what the policy says, where the time and the groups went, the
// recipe and the machine. Every text of the run is escaped.
std::string run_report(const RunDirectory& run, const Recipe& recipe);

// The resolved recipe as people may see it: without the password of a Redis.
Json shown_recipe(const Recipe& recipe);

// The same as report.html of the run.
void write_report(const RunDirectory& run, const Recipe& recipe);

}  // namespace sluice::recipes
