// The model that a `distill` stage learns from.
#pragma once

#include <cstdint>
#include <memory>

#include "model/network.h"
#include "recipes/recipe.h"
#include "text/tokenizer.h"

namespace sluice::recipes::internal {

// Throws DataError when the stage's teacher cannot be read, or reads other token ids than `tokenizer`, the
// student's; UsageError when it does not take sequences as long as the stage's, whose network has so many
// positions.
void check_teacher(const StageSpec& stage, const text::Tokenizer& tokenizer, int64_t positions);

// Checked and frozen; null where the stage has none.
std::unique_ptr<model::Network> load_teacher(const Recipe& recipe, const StageSpec& stage,
                                             const text::Tokenizer& tokenizer, int64_t positions);

}  // namespace sluice::recipes::internal
