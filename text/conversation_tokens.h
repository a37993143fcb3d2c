// A conversation as tokens, for who looks at what the assistant says in it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace sluice::text {

struct ConversationTokens {
  std::vector<TokenId> ids;  // of the whole rendered text, up to the last that counts
  std::vector<uint8_t>
      said;  // 1 for those that begin in what the assistant says, end-of-turn tokens among them
};

// Of what it says from message `first` on. Throws DataError as learned_spans() does.
ConversationTokens conversation_tokens(const ChatTemplate& chat, const Tokenizer& tokenizer,
                                       const Json& messages, const ChatOptions& options, int64_t first);

}  // namespace sluice::text
