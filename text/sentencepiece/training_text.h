// The text that a SentencePiece model is trained on, as its trainer wants it.
#pragma once

#include <sentencepiece_trainer.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "text/tokenizer.h"

namespace sluice::text::internal {

// The specials that every trained tokenizer begins with: unknown, begin, end, padding.
inline constexpr int kNumSpecials = 4;

// The line end, the tab and U+2585, with which the trainer marks things of its own: it would skip them, or
// the sentence they are in.
bool is_separator(std::string_view character);

using Characters = std::unordered_set<std::string_view>;

// Hands a text to the trainer in pieces of the characters to learn, cut at all others and so short that none
// is skipped; of each `stride` pieces one. Before them comes the sentence `first`, unless it is empty.
class TrainingSentences : public sentencepiece::SentenceIterator {
 public:
  // `offsets` are the character_offsets() of `text`; all three outlive it.
  TrainingSentences(std::string_view text, const std::vector<size_t>& offsets, const Characters& alphabet,
                    size_t stride = 1, std::string_view first = {});

  bool done() const override { return sentence_.empty(); }
  const std::string& value() const override { return sentence_; }
  sentencepiece::util::Status status() const override { return {}; }
  void Next() override;

 private:
  void read_one();

  const std::string_view text_;
  const std::vector<size_t>& offsets_;
  const Characters& alphabet_;
  const size_t stride_;
  size_t at_ = 0;  // index into offsets_ of the next character
  std::string sentence_;
};

// How often each character occurs. Throws DataError for a text that is empty but for line ends and tabs, and
// for one with a zero byte or U+2581, SentencePiece's own sign for a space.
std::unordered_map<std::string_view, size_t> count_characters(std::string_view text,
                                                              const std::vector<size_t>& offsets);

// Runs the trainer with `spec` and what all of ours have in common: no normalization, no dummy prefix, white
// space kept, the ids of the specials, one thread. Returns the model.
std::string train_sentencepiece(std::unordered_map<std::string, std::string> spec,
                                TrainingSentences sentences);

// `symbols` as one value of the trainer's: separated by commas, quoted where need be.
std::string join_symbols(const std::vector<std::string>& symbols);

}  // namespace sluice::text::internal
