#include "text/sentencepiece/training_text.h"

#include "base/error.h"
#include "text/internal/spelling.h"
#include "text/sentencepiece/tokenizer.h"

namespace sluice::text::internal {
namespace {

constexpr size_t kSentenceCharacters = 1000;  // below the trainer's limit of 4192 bytes

}  // namespace

bool is_separator(std::string_view character) {
  return character == "\n" || character == "\t" || character == "\u2585";
}

TrainingSentences::TrainingSentences(std::string_view text, const std::vector<size_t>& offsets,
                                     const Characters& alphabet, size_t stride, std::string_view first)
    : text_(text), offsets_(offsets), alphabet_(alphabet), stride_(stride), sentence_(first) {
  if (sentence_.empty()) read_one();
}

void TrainingSentences::Next() {
  for (size_t i = 0; i < stride_; ++i) read_one();
}

void TrainingSentences::read_one() {
  sentence_.clear();
  for (size_t taken = 0; at_ + 1 < offsets_.size() && taken < kSentenceCharacters; ++at_) {
    const auto character = text_.substr(offsets_[at_], offsets_[at_ + 1] - offsets_[at_]);
    if (alphabet_.contains(character)) {
      sentence_ += character;
      ++taken;
    } else if (taken > 0) {
      return;
    }
  }
}

std::unordered_map<std::string_view, size_t> count_characters(std::string_view text,
                                                              const std::vector<size_t>& offsets) {
  std::unordered_map<std::string_view, size_t> counts;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    ++counts[text.substr(offsets[i], offsets[i + 1] - offsets[i])];
  }
  bool any_learned = false;
  for (const auto& [character, count] : counts) any_learned |= !is_separator(character);
  require<DataError>(any_learned, "tokenizer: the training text has no character besides line ends and tabs");
  require<DataError>(!counts.contains(std::string_view("\0", 1)),
                     "tokenizer: the training text holds a zero byte, which SentencePiece cannot learn");
  require<DataError>(!counts.contains(kSpaceMark),
                     "tokenizer: the training text holds U+2581, which SentencePiece writes for a space");
  return counts;
}

std::string train_sentencepiece(std::unordered_map<std::string, std::string> spec,
                                TrainingSentences sentences) {
  spec.merge(std::unordered_map<std::string, std::string>{
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "3"},
      {"num_threads", "1"},
  });
  silence_sentencepiece();
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(spec, &sentences, &model);
  require<DataError>(status.ok(), "tokenizer: SentencePiece cannot train on this text: ", status.message());
  return model;
}

std::string join_symbols(const std::vector<std::string>& symbols) {
  std::string joined;
  for (const auto& symbol : symbols) {
    joined += joined.empty() ? "\"" : ",\"";
    for (const char byte : symbol) joined += byte == '"' ? std::string("\"\"") : std::string(1, byte);
    joined += '"';
  }
  return joined;
}

}  // namespace sluice::text::internal
