// A row of preference data to tokens, with those of each completion that count.
#pragma once

#include <cstdint>
#include <optional>

#include "learner/preference_batch.h"
#include "text/chat_template.h"
#include "text/preference_rows.h"
#include "text/tokenizer.h"

namespace sluice::learner {

// What a prompt that is too long with its completion loses first (spec section 9).
enum class Truncation { KeepStart, KeepEnd };

struct PreferenceTokenizeOptions {
  bool append_eos = true;  // to completions that are text; a conversation ends in its own way
  int64_t max_length = 1024;
  // KeepStart: completions lose their ends. KeepEnd: the prompt loses its start, as far as the longest of its
  // completions asks for and one token is left, so that it stays the same for all of them.
  Truncation truncation = Truncation::KeepStart;
};

// Text: prompt and completions are encoded one by one. A conversation: the tokens of the whole rendered text,
// of which those count that begin in what the assistant says behind the prompt, its end-of-turn token among
// them. What the completions' tokens begin with alike is the prompt.
//
// Nothing when a completion is cut off entirely. Throws DataError naming file and line for a conversation
// without a template, one that the template gives no spans for, and a prompt or completion without a token.
std::optional<PreferenceExample> tokenize_preference(const text::PreferenceRow& row,
                                                     const text::Tokenizer& tokenizer,
                                                     const text::ChatTemplate* chat,
                                                     const PreferenceTokenizeOptions& options);

}  // namespace sluice::learner
