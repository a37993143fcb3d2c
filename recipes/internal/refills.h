// The keys of [rollout] about groups from which nothing can be learned (DAPO's dynamic sampling).
#pragma once

#include <string>

#include "base/json.h"
#include "recipes/recipe.h"

namespace sluice::recipes::internal {

learner::RefillFallback read_refill_fallback(const Json& rollout);
// Throws UsageError for what contradicts itself.
void check_refills(const StageSpec& stage);
// "; groups without spread dropped, ..."; "" where none are.
std::string refills_in_words(const RolloutSpec& rollout);

}  // namespace sluice::recipes::internal
