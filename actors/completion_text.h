// From generated tokens to what a completion says.
#pragma once

#include <string>
#include <vector>

#include "buffers/rollout_group.h"
#include "text/tokenizer.h"

namespace sluice::actors {

// The text that a completion was meant to say: without what stopped it (a token, or one of the texts),
// special tokens, and ids that only pad the model's vocabulary.
std::string completion_text(const buffers::Completion& completion, const text::Tokenizer& tokenizer,
                            const std::vector<std::string>& stop_strings);

}  // namespace sluice::actors
