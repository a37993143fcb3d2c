// The files of rollouts/, for people to read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "recipes/run_directory.h"

namespace sluice::recipes {

// The steps that have one, rising.
std::vector<int64_t> rollout_steps(const RunDirectory& run);

// {"step", "found", "offset", "groups": [...]}: the groups of a step in whose prompt or completions `search`
// stands, capitals or not, from the `offset`-th on, at most 20. Of a long text the beginning is
// given, and beside it how many bytes there are. Throws UsageError for a step without a file.
Json read_rollouts(const RunDirectory& run, int64_t step, const std::string& search, int64_t offset);

}  // namespace sluice::recipes
