// real_words: how much of a completion is made of real words, for a policy that writes plain text.
//
// A word is a maximal run of letters a to z, with single apostrophes allowed between letters, in lower case.
// The vocabulary is the words that occur at least `min_count` times in the training text; of the one-letter
// words only a, i and o, since a text of any size holds the others by accident.
//
//   score = real x distinct x text x enough
//     real      letters that stand in a word of the vocabulary / letters
//     distinct  different words / words
//     text      min(1, letters / (half of the characters)): blank space and punctuation are not writing
//     enough    min(1, words / min_words): one real word and an early end is not writing either
//
// and 0 without letters. The completion goes on in the middle of a text, so its first letters are joined to
// the last letters of the prompt (not in a conversation): the word is judged as a whole, only the
// completion's letters are counted. A last word that the length limit cut counts nowhere, as long as a word
// of the vocabulary begins with it; otherwise it is a word like the others, so that no endless run hides
// there.
#include <algorithm>
#include <iterator>
#include <set>
#include <unordered_map>

#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

constexpr double kExpectedLetterShare = 0.5;  // of characters; English prose has three quarters

struct Word {
  std::string text;  // lower case
  size_t begin = 0;
  size_t end = 0;
};

// The words of `text` in order.
std::vector<Word> split_words(std::string_view text) {
  std::vector<Word> words;
  for (size_t at = 0; at < text.size();) {
    if (!is_letter(text[at])) {
      ++at;
      continue;
    }
    size_t end = at + 1;
    while (end < text.size() && (is_letter(text[end]) ||
                                 (text[end] == '\'' && end + 1 < text.size() && is_letter(text[end + 1])))) {
      ++end;
    }
    words.push_back({lower(text.substr(at, end - at)), at, end});
    at = end;
  }
  return words;
}

int64_t count_letters(std::string_view text) { return std::count_if(text.begin(), text.end(), is_letter); }

// What of the prompt's end may belong to the completion's first word.
std::string_view word_tail(std::string_view prompt) {
  size_t begin = prompt.size();
  while (begin > 0 && (is_letter(prompt[begin - 1]) || prompt[begin - 1] == '\'')) --begin;
  return prompt.substr(begin);
}

class Vocabulary {
 public:
  Vocabulary(std::string_view text, int64_t min_count) {
    std::unordered_map<std::string, int64_t> counts;
    for (auto& word : split_words(text)) ++counts[std::move(word.text)];
    for (const auto& [word, count] : counts) {
      const bool junk = word.size() == 1 && word != "a" && word != "i" && word != "o";
      if (count >= min_count && !junk) words_.push_back(word);
    }
    std::sort(words_.begin(), words_.end());
  }

  size_t size() const { return words_.size(); }
  bool contains(const std::string& word) const {
    return std::binary_search(words_.begin(), words_.end(), word);
  }
  bool has_prefix(const std::string& start) const {
    const auto next = std::lower_bound(words_.begin(), words_.end(), start);
    return next != words_.end() && next->starts_with(start);
  }

 private:
  std::vector<std::string> words_;  // sorted
};

class RealWords final : public CompletionReward {
 public:
  RealWords(const RewardSpec& spec, const RewardResources& resources)
      : CompletionReward(spec),
        min_words_(option<int64_t>(spec, "min_words", 4)),
        vocabulary_(resources.training_text, option<int64_t>(spec, "min_count", 2)) {
    require<UsageError>(min_words_ >= 1, speaker(spec), ": min_words is at least 1, saw ", min_words_);
    require<UsageError>(option<int64_t>(spec, "min_count", 2) >= 1, speaker(spec),
                        ": min_count is at least 1");
    require<UsageError>(
        !resources.training_text.empty(), speaker(spec),
        " takes its vocabulary from the training text: it goes with data of the \"text\" reader");
    require<UsageError>(vocabulary_.size() > 0, speaker(spec), ": the training text of ",
                        resources.training_text.size(), " bytes holds no word often enough");
  }

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const bool goes_on = request.row->messages.is_null();
    const std::string tail(goes_on ? word_tail(request.row->prompt) : std::string_view());
    std::string text = tail + request.completion;
    auto words = split_words(text);
    if (request.truncated && !words.empty()) drop_cut_word(text, words);

    int64_t letters = 0;
    int64_t real_letters = 0;
    int64_t num_words = 0;
    std::set<std::string> distinct;
    for (const auto& word : words) {
      if (word.end <= tail.size()) continue;  // all of it is the prompt's
      const size_t begin = std::max(word.begin, tail.size());
      const int64_t n = count_letters(std::string_view(text).substr(begin, word.end - begin));
      letters += n;
      if (vocabulary_.contains(word.text)) real_letters += n;
      ++num_words;
      distinct.insert(word.text);
    }
    if (letters == 0) return RewardOutcome::scored(0.0);

    const auto characters = static_cast<double>(text.size() - tail.size());
    const double real = static_cast<double>(real_letters) / static_cast<double>(letters);
    const double distinct_share = static_cast<double>(distinct.size()) / static_cast<double>(num_words);
    const double written = std::min(1.0, static_cast<double>(letters) / (kExpectedLetterShare * characters));
    const double enough = std::min(1.0, static_cast<double>(num_words) / static_cast<double>(min_words_));
    return RewardOutcome::scored(
        real * distinct_share * written * enough,
        {{"real", real}, {"distinct", distinct_share}, {"text", written}, {"enough", enough}});
  }

  // An apostrophe at the end may have been about to become an inner one, so it goes with the word.
  void drop_cut_word(std::string& text, std::vector<Word>& words) const {
    const auto& last = words.back();
    const bool touches_end = last.end == text.size() || (last.end + 1 == text.size() && text.back() == '\'');
    if (!touches_end || !vocabulary_.has_prefix(last.text)) return;
    text.resize(last.begin);
    words.pop_back();
  }

  const int64_t min_words_;
  const Vocabulary vocabulary_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_real_words(const RewardSpec& spec, const RewardResources& resources) {
  return std::make_unique<RealWords>(spec, resources);
}

}  // namespace sluice::rewards::internal
