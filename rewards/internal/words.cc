#include "rewards/internal/words.h"

#include <algorithm>

#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

bool is_plain(char c) { return is_letter(c) || is_digit(c); }
bool is_beyond_ascii(char c) { return static_cast<unsigned char>(c) >= 0x80; }
bool is_inside_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }
bool is_of_word(char c) { return is_plain(c) || is_beyond_ascii(c); }

// Bytes that are no UTF-8 are characters of one byte or of what follows them: all that matters is that there
// is an end.
size_t end_of_character(std::string_view text, size_t at) {
  size_t end = at + 1;
  while (end < text.size() && end < at + 4 && is_inside_character(text[end])) ++end;
  return end;
}

}  // namespace

std::vector<std::string> words_in(std::string_view text, Marks marks) {
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    size_t end = at + 1;
    if (is_plain(text[at])) {
      while (end < text.size() && is_plain(text[end])) ++end;
      words.push_back(lower(text.substr(at, end - at)));
    } else if (is_beyond_ascii(text[at])) {
      end = end_of_character(text, at);
      words.emplace_back(text.substr(at, end - at));
    } else if (marks == Marks::Keep && text[at] > ' ') {
      words.emplace_back(text.substr(at, 1));
    }
    at = end;
  }
  return words;
}

bool holds_phrase(std::string_view text, std::string_view phrase) {
  for (size_t at = text.find(phrase); at != std::string_view::npos; at = text.find(phrase, at + 1)) {
    const size_t end = at + phrase.size();
    const bool goes_on_before = at > 0 && is_of_word(text[at - 1]) && is_of_word(phrase.front());
    const bool goes_on_behind = end < text.size() && is_of_word(text[end]) && is_of_word(phrase.back());
    if (!goes_on_before && !goes_on_behind) return true;
  }
  return false;
}

std::vector<int32_t> WordIds::of(const std::vector<std::string>& words) {
  std::vector<int32_t> ids;
  ids.reserve(words.size());
  for (const auto& word : words)
    ids.push_back(ids_.emplace(word, static_cast<int32_t>(ids_.size())).first->second);
  return ids;
}

}  // namespace sluice::rewards::internal
