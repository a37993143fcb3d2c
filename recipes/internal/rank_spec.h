// The `learner` table of a stage: how many processes train it, and with how many threads.
#pragma once

#include <cstdint>

#include "recipes/recipe.h"

namespace sluice::recipes::internal {

RankSpec read_ranks(const Json& json);

// Throws UsageError for a stage that so many processes cannot train.
void check_ranks(const StageSpec& stage, int64_t count);

// What one of `count` ranks computes with.
int threads_of_rank(const StageSpec& stage, int64_t count);

}  // namespace sluice::recipes::internal
