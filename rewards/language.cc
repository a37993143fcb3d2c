// language: how much of the completion is in the language `language` (DeepSeek-R1 2025 rewards reasoning in
// one).
//
//   score = script x words
//     script  letters of the language's script / letters
//     words   of the small words ("the", "und", "que") of the languages that share the script, those of this
//     one;
//             1 while there are fewer than five, which is too little to tell by
//
// and 0 without letters. Digits, punctuation, symbols and what stands in $...$, \(...\), \[...\] or ```
// fences, which is in no language, are left out. Languages: en de fr es it pt nl pl, told apart by their
// small words; el ru uk he ar fa hi th ko ja zh, told by script alone, so that ru and uk, ar and fa are one.
//
//   with language = "en"
//   So the answer is that it was 5.                1
//   So 答案 is 5, and that is it.                   script 15/17
//   Die Antwort ist nicht das, und es war so.      words: of "die ist nicht das und es war so", was und so
//   ... 42                                             0
#include <algorithm>
#include <string>

#include "rewards/internal/scorers.h"
#include "rewards/internal/scripts.h"

namespace sluice::rewards::internal {
namespace {

constexpr int64_t kFewestSmallWords = 5;

const Language& language_option(const RewardSpec& spec) {
  const auto code = option<std::string>(spec, "language", "");
  const auto known = std::ranges::find(languages(), code, &Language::code);
  if (known != languages().end()) return *known;
  std::string all;
  for (const auto& language : languages()) all += " " + std::string(language.code);
  fail<UsageError>(speaker(spec), ": `language` is one of", all, "; saw \"", code, "\"");
}

// Without what is in no language: code fences and mathematics. What is not closed stays.
std::string prose(std::string_view text) {
  constexpr std::pair<std::string_view, std::string_view> kQuoted[] = {
      {"```", "```"}, {"$$", "$$"}, {"\\(", "\\)"}, {"\\[", "\\]"}, {"$", "$"}};
  std::string out;
  std::vector<bool> closes(std::size(kQuoted), true);  // one that was not found is not looked for again
  for (size_t at = 0; at < text.size();) {
    size_t end = 0;
    for (size_t i = 0; i < std::size(kQuoted) && end == 0; ++i) {
      const auto& [open, close] = kQuoted[i];
      if (!closes[i] || !text.substr(at).starts_with(open)) continue;
      const size_t found = text.find(close, at + open.size());
      closes[i] = found != std::string_view::npos;
      if (closes[i]) end = found + close.size();
    }
    if (end == 0) {
      out += text[at++];
    } else {
      out += ' ';
      at = end;
    }
  }
  return out;
}

// Bytes that are no UTF-8 are read as what they might have been: such text is no language either way.
char32_t take_character(std::string_view text, size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  if (lead < 0x80) return lead;
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  char32_t code = lead & (0x3Fu >> more);
  for (int i = 0; i < more && at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
       ++i) {
    code = (code << 6) | (static_cast<unsigned char>(text[at++]) & 0x3F);
  }
  return code;
}

class LanguageReward final : public CompletionReward {
 public:
  explicit LanguageReward(const RewardSpec& spec)
      : CompletionReward(spec), language_(language_option(spec)) {}

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const std::string text = prose(request.completion);
    int64_t letters = 0, own = 0;
    for (size_t at = 0; at < text.size();) {
      const Script script = script_of(take_character(text, at));
      if (script == Script::None) continue;
      ++letters;
      own += std::ranges::count(language_.scripts, script);
    }
    if (letters == 0) return RewardOutcome::scored(0.0);
    const double script = static_cast<double>(own) / static_cast<double>(letters);
    const double words = language_.small_words.empty() ? 1.0 : share_of_small_words(text);
    return RewardOutcome::scored(script * words, {{"script", script}, {"words", words}});
  }

  double share_of_small_words(std::string_view text) const {
    int64_t all = 0, own = 0;
    for (size_t at = 0; at < text.size(); ++at) {
      const size_t begin = at;
      while (at < text.size() && (is_letter(text[at]) || static_cast<unsigned char>(text[at]) >= 0x80)) ++at;
      if (at == begin) continue;
      const std::string word = lower(text.substr(begin, at - begin));
      const auto has = [&](const Language& language) {
        return std::ranges::count(language.small_words, word) > 0;
      };
      if (std::ranges::any_of(languages(), has)) ++all;
      if (has(language_)) ++own;
    }
    return all < kFewestSmallWords ? 1.0 : static_cast<double>(own) / static_cast<double>(all);
  }

  const Language& language_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_language(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<LanguageReward>(spec);
}

}  // namespace sluice::rewards::internal
