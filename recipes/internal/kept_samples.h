// What rejection sampling keeps of the completions of one prompt, as rows for a later stage.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "recipes/recipe.h"
#include "text/dataset.h"

namespace sluice::recipes::internal {

struct ScoredText {
  std::string text;
  std::optional<double> reward;  // summed; empty: unscored
};

// Over all prompts. Completions are right, wrong or unscored; of the right ones some say what another of
// their prompt said.
struct SampleCounts {
  int64_t prompts = 0, sampled = 0, unscored = 0, right = 0, duplicates = 0;
  int64_t kept = 0;          // rows
  int64_t kept_prompts = 0;  // prompts that have one
};

// The rows of one prompt, every column of its own in them, and `prompt`, `pass_rate` (the share of scored
// completions that are right), and
//   - `completion` and `reward` of a right one; those of the best rewards, the earlier one of two equals; or
//   - with pairs, `chosen` (so ordered) and `rejected` (the worst first). Each has another partner than
//     before, the shorter list beginning again.
// A text is kept once, an empty one never: nothing can be learned from it.
std::vector<Json> kept_rows(const text::Row& row, std::span<const ScoredText> samples,
                            const SamplesSpec& spec, SampleCounts& counts);

}  // namespace sluice::recipes::internal
