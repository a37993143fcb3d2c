// One machine, one run: starts the roles a stage needs, replaces actors that die, and leaves nothing behind.
#pragma once

#include <string>

#include "base/signals.h"
#include "recipes/recipe.h"
#include "recipes/run_directory.h"

namespace sluice::recipes {

// Runs all stages that have no result yet and writes summary.json; however it ends, ended.json says how, with
// `resume` as the command that goes on, and report.html what there is. Returns the exit status of the run: 0,
// 128 + signal when it was stopped and can be resumed, or what the learner ended with. Throws when a role
// cannot be kept running.
int supervise(const OpenedRun& run, const Recipe& recipe, StopSignals& signals, const std::string& resume);

}  // namespace sluice::recipes
