#include "rewards/internal/final_answer.h"

#include <algorithm>
#include <vector>

#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

constexpr std::string_view kSpace = " \t\r\n\f\v";
constexpr int kMaxLayers = 4;  // of what people put around an answer

// What is in the braces of the \boxed that closes last.
std::optional<std::string_view> last_boxed(std::string_view text) {
  std::vector<std::pair<size_t, bool>> open;  // where the inside of a brace begins, and whether it is a box
  std::optional<std::string_view> found;
  size_t after_box = std::string_view::npos;  // right behind a \boxed and blanks
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '{') {
      open.emplace_back(at + 1, at == after_box);
    } else if (c == '}' && !open.empty()) {
      if (open.back().second) found = text.substr(open.back().first, at - open.back().first);
      open.pop_back();
    } else if (c == '\\') {
      const std::string_view rest = text.substr(at);
      const size_t length = rest.starts_with("\\boxed") ? 6 : rest.starts_with("\\fbox") ? 5 : 0;
      if (length == 0) {
        ++at;  // the character behind it is no brace of its own
        continue;
      }
      after_box = text.find_first_not_of(kSpace, at + length);
      at += length - 1;
    }
  }
  return found;
}

std::optional<size_t> find_last_word(std::string_view text, std::string_view word, size_t before) {
  for (size_t at = std::min(before, text.size()); at-- > 0;) {
    const auto same = [](char a, char b) { return lower(a) == b; };
    if (lower(text[at]) == word[0] && text.size() - at >= word.size() &&
        std::ranges::equal(text.substr(at, word.size()), word, same))
      return at;
  }
  return std::nullopt;
}

bool take(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

std::string_view without_blanks_before(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return text;
}

// Up to the end of the sentence; the next line that says something where this one says nothing.
std::string_view sentence(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  text = text.substr(0, text.find('\n'));
  for (size_t at = text.find(". "); at != std::string_view::npos; at = text.find(". ", at + 1)) {
    if (at > 0 && text[at - 1] != '\\') return text.substr(0, at);
  }
  return text;
}

// "answer is" and its like.
std::optional<std::string_view> last_said(std::string_view text) {
  for (auto at = find_last_word(text, "answer", text.size()); at; at = find_last_word(text, "answer", *at)) {
    std::string_view rest = text.substr(*at + 6);
    take(rest, "**");
    rest = without_blanks_before(rest);
    const bool is = take(rest, "is ") || take(rest, "is:") || take(rest, "is\n");
    if (!is && !take(rest, ":") && !take(rest, "=")) continue;
    rest = without_blanks_before(rest);
    take(rest, ":");
    return sentence(rest);
  }
  return std::nullopt;
}

std::string_view undressed(std::string_view text) {
  const auto take_pair = [&](std::string_view mark) {
    if (text.size() < 2 * mark.size() || !text.starts_with(mark) || !text.ends_with(mark)) return false;
    text = trim(text.substr(mark.size(), text.size() - 2 * mark.size()));
    return true;
  };
  bool changed = true;
  for (int round = 0; changed && round < kMaxLayers; ++round) {
    text = trim(text);
    changed = take_pair("**") || take_pair("\"") || take_pair("`");
    while (text.ends_with('.')) {
      text.remove_suffix(1);
      changed = true;
    }
    if (text.starts_with("**") &&
        text.find("**", 2) == std::string_view::npos) {  // closed behind the sentence
      text.remove_prefix(2);
      changed = true;
    } else if (text.ends_with("**") && text.find("**") == text.size() - 2) {
      text.remove_suffix(2);
      changed = true;
    }
  }
  return text;
}

}  // namespace

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::optional<std::string_view> last_tagged(std::string_view text) {
  constexpr std::string_view kOpen = "<answer>", kClose = "</answer>";
  const size_t last_close = text.rfind(kClose);
  const size_t open =
      last_close == std::string_view::npos ? last_close : text.substr(0, last_close).rfind(kOpen);
  if (open == std::string_view::npos) return std::nullopt;
  const size_t begin = open + kOpen.size();
  return text.substr(begin, text.find(kClose, begin) - begin);
}

std::optional<std::string_view> last_line_after(std::string_view text,
                                                std::initializer_list<std::string_view> marks) {
  for (size_t end = text.size();;) {
    const size_t before = text.substr(0, end).rfind('\n');
    const size_t begin = before == std::string_view::npos ? 0 : before + 1;
    const std::string_view line = text.substr(begin, end - begin);
    for (const auto mark : marks) {
      if (line.starts_with(mark)) return line.substr(mark.size());
    }
    if (begin == 0) return std::nullopt;
    end = before;
  }
}

FinalAnswer final_answer(std::string_view completion) {
  FinalAnswer answer{completion, false};
  if (const auto tagged = last_tagged(answer.text)) answer = {*tagged, true};
  auto inner = last_boxed(answer.text);
  if (!inner) inner = last_line_after(answer.text, {"####"});
  if (!inner) inner = last_said(answer.text);
  if (inner) answer = {*inner, true};
  answer.text = undressed(answer.text);
  return answer;
}

}  // namespace sluice::rewards::internal
