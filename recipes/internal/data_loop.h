// What stages hand on beside a checkpoint: the `samples` and `teacher` tables, which rows `data` takes, and
// whether `data.from` names something to take.
#pragma once

#include <cstdint>
#include <string>

#include "recipes/recipe.h"

namespace sluice::recipes::internal {

text::RowChoice read_choice(const Json& data);
SamplesSpec read_samples(const Json& json);
// Throws UsageError naming the stage when it has no teacher.
DistillSpec read_distill(const Json& json, const std::string& stage);

// Whether the last stage read so far finds what it takes, and does not contradict itself: throws UsageError
// naming it. The stages before it are those it may take from.
void check_loop(const Recipe& recipe);

// In a line of words.
std::string describe(const SamplesSpec& spec, int64_t group_size);
std::string describe(const DistillSpec& spec);

}  // namespace sluice::recipes::internal
