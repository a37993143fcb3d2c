#include "actors/stop_text.h"

#include <algorithm>

namespace sluice::actors {

StopText::StopText(const text::Tokenizer& tokenizer, const std::vector<std::string>& stops)
    : tokenizer_(tokenizer), stops_(stops), decoder_(tokenizer) {}

std::string StopText::text_of(int32_t token) {
  // Ids that only pad the model's vocabulary have no text.
  return token < tokenizer_.vocab_size() ? decoder_.push(token) : std::string();
}

bool StopText::push(int32_t token) {
  tail_ += text_of(token);
  size_t longest = 0;
  for (const auto& stop : stops_) {
    if (tail_.find(stop) != std::string::npos) return true;
    longest = std::max(longest, stop.size());
  }
  if (tail_.size() > longest) tail_.erase(0, tail_.size() - longest);
  return false;
}

void StopText::skip(int32_t token) {
  text_of(token);
  tail_.clear();
}

std::string before_stop(std::string text, const std::vector<std::string>& stops) {
  size_t first = text.size();
  for (const auto& stop : stops) first = std::min(first, text.find(stop));
  text.resize(first);
  return text;
}

}  // namespace sluice::actors
