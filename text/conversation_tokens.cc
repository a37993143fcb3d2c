#include "text/conversation_tokens.h"

#include <algorithm>
#include <utility>

#include "text/chat_spans.h"
#include "text/token_map.h"

namespace sluice::text {

ConversationTokens conversation_tokens(const ChatTemplate& chat, const Tokenizer& tokenizer,
                                       const Json& messages, const ChatOptions& options, int64_t first) {
  auto spans = learned_spans(chat, messages, options, first);
  TokenMap map(tokenizer, std::move(spans.text));
  ConversationTokens tokens{.ids = map.ids(), .said = std::vector<uint8_t>(map.ids().size(), 0)};
  size_t last = 0;
  for (const auto& part : spans.learned) {
    const auto [begin, end] = map.beginning_in(part);
    for (size_t i = begin; i < end; ++i) tokens.said[i] = 1;
    last = std::max(last, end);
  }
  tokens.ids.resize(last);
  tokens.said.resize(last);
  return tokens;
}

}  // namespace sluice::text
