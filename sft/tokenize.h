// A dataset row to tokens, with what each of them counts in the loss (spec section 11.1).
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "sft/supervised_batch.h"
#include "text/chat_template.h"
#include "text/dataset.h"
#include "text/tokenizer.h"

namespace sluice::sft {

struct TokenizeOptions {
  bool append_eos = true;  // of text: the end of sequence is a target too; a conversation ends in its own way
  int64_t max_length = 1024;  // keeps the start
  // Learned tokens between <name> and </name>, those that hold a part of the tags included, count this many
  // times; 0: they are not learned. Where one pair stands inside another, the weights multiply.
  std::map<std::string, double> tag_weights = {};
};

// Text: prompt and completion are encoded one by one and the loss is on the completion; with an empty prompt,
// on all but the first token. No begin of sequence is put in front: who wants one has it in the prompt's
// text.
//
// A conversation: the tokens of the whole rendered text, the loss on those that begin in what the assistant
// says, its end-of-turn token among them (text::learned_spans() says where a turn ends); role headers, what
// others say and the line end behind a turn are no targets. The columns "tools" and "chat_template_kwargs"
// go to the template.
//
// The example may be without a target: when it is cut off, or weighs nothing. Throws DataError naming file
// and line for a conversation without a template, and for one the template does not give spans for.
Example tokenize(const text::Row& row, const text::Tokenizer& tokenizer, const text::ChatTemplate* chat,
                 const TokenizeOptions& options);

}  // namespace sluice::sft
