// The rows that a reward model is trained and measured on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "recipes/recipe.h"
#include "sft/reward_batch.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace sluice::recipes::internal {

struct PairsFound {
  std::vector<sft::ComparedPair> pairs;  // in the order of the file; at least one
  int64_t dropped = 0;  // rows of which a completion is longer than batch.max_length with its prompt
  int64_t longest = 0;  // tokens of a sequence
};

// A score stands at the end of a completion, so what is too long is left out whole. Throws DataError for a
// file without a row that fits, and as learner::tokenize_preference() does.
PairsFound read_pairs(const StageSpec& stage, const std::filesystem::path& file,
                      const text::Tokenizer& tokenizer, const text::ChatTemplate* chat);

}  // namespace sluice::recipes::internal
