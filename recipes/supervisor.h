// One machine, one run: starts the roles a stage needs, replaces actors that die, and leaves nothing behind.
#pragma once

#include <filesystem>

#include "base/signals.h"
#include "recipes/recipe.h"
#include "recipes/run_directory.h"

namespace sluice::recipes {

// Runs all stages that have no result yet and writes summary.json. Returns the exit status of the run: 0, 128
// + signal when it was stopped and can be resumed, or what the learner ended with. Throws when a role cannot
// be kept running.
int supervise(const OpenedRun& run, const Recipe& recipe, StopSignals& signals);

}  // namespace sluice::recipes
