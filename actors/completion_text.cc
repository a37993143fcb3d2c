#include "actors/completion_text.h"

#include <algorithm>
#include <utility>

#include "actors/stop_text.h"

namespace sluice::actors {

std::string completion_text(const buffers::Completion& completion, const text::Tokenizer& tokenizer,
                            const std::vector<std::string>& stop_strings) {
  auto tokens = completion.tokens;
  if (completion.finish == buffers::FinishReason::Stop && !tokens.empty()) tokens.pop_back();
  std::erase_if(tokens, [&](int32_t token) { return token >= tokenizer.vocab_size(); });
  auto text = tokenizer.decode(tokens);
  if (completion.finish != buffers::FinishReason::StopString) return text;
  return before_stop(std::move(text), stop_strings);
}

}  // namespace sluice::actors
