#include "actors/call_watch.h"

#include <algorithm>

#include "text/tool_calls.h"

namespace sluice::actors {

using text::kCallBegin, text::kCallEnd;

// A mark may be a token of its own, and a special one, which decodes to nothing otherwise.
std::string CallWatch::text_of(int32_t token) {
  if (token >= tokenizer_.vocab_size()) return {};  // only pads the model's vocabulary
  std::string text = decoder_.push(token);
  if (!text.empty() || !tokenizer_.decode({&token, 1}).empty()) return text;
  return tokenizer_.decode({&token, 1}, /*keep_specials=*/true);
}

std::optional<std::string> CallWatch::push(int32_t token) {
  const size_t before = tail_.size();
  tail_ += text_of(token);
  size_t from = before - std::min(before, kCallEnd.size() - 1);
  if (!inside_) {
    const size_t begin = tail_.find(kCallBegin);
    if (begin == std::string::npos) {
      if (tail_.size() >= kCallBegin.size()) tail_.erase(0, tail_.size() - kCallBegin.size() + 1);
      return std::nullopt;
    }
    tail_.erase(0, begin + kCallBegin.size());
    inside_ = true;
    from = 0;
  }
  const size_t end = tail_.find(kCallEnd, from);
  if (end == std::string::npos) return std::nullopt;
  std::string call = tail_.substr(0, end);
  if (const size_t again = call.rfind(kCallBegin); again != std::string::npos)
    call.erase(0, again + kCallBegin.size());
  tail_.clear();
  inside_ = false;
  return call;
}

void CallWatch::skip(int32_t token) {
  text_of(token);
  tail_.clear();
  inside_ = false;
}

}  // namespace sluice::actors
