#include <algorithm>
#include <functional>
#include <set>
#include <string>

#include "base/error.h"
#include "text/internal/utf8.h"
#include "text/sentencepiece/tokenizer.h"
#include "text/sentencepiece/training_text.h"
#include "text/tokenizer.h"

namespace sluice::text {
namespace {

constexpr int64_t kMinVocabSize = 512;
constexpr int64_t kMaxVocabSize = 32'000;
constexpr int64_t kNumBytes = 256;
constexpr int64_t kMinLearned = 128;  // pieces that must be left to learn
constexpr size_t kMaxSpecialBytes = 256;
constexpr double kCoverage = 0.9995;  // of a text, by the characters that become pieces; the others are bytes

void check_special(const std::string& token, std::set<std::string>& seen) {
  const auto refuse = [&](const char* why) {
    fail<DataError>("tokenizer: the special token \"", token, "\" ", why);
  };
  if (token.empty()) refuse("is empty");
  if (token.size() > kMaxSpecialBytes) refuse("is longer than 256 bytes");
  if (internal::valid_utf8_prefix(token) < token.size()) refuse("is not UTF-8");
  if (internal::utf8_length(token, 0) == token.size()) refuse("is a single character");
  if (std::ranges::any_of(token, [](char c) { return static_cast<unsigned char>(c) < ' '; })) {
    refuse("holds a control character");
  }
  if (token.find("\u2581") != std::string::npos)
    refuse("holds U+2581, which SentencePiece writes for a space");
  if (token.size() == 6 && token.starts_with("<0x") && token.ends_with(">")) refuse("is spelled like a byte");
  if (!seen.insert(token).second) refuse("is there already");
}

void check_training(const TokenizerTraining& training) {
  require<UsageError>(training.kind == "bpe" || training.kind == "unigram", "tokenizer: the kind is \"",
                      training.kind, "\"; there are: bpe, unigram");
  require<UsageError>(training.vocab_size >= kMinVocabSize && training.vocab_size <= kMaxVocabSize,
                      "tokenizer: a vocabulary of ", training.vocab_size, "; it goes from ", kMinVocabSize,
                      " to ", kMaxVocabSize);
  std::set<std::string> seen = {"<unk>", "<s>", "</s>", "<pad>"};
  for (const auto& token : training.special_tokens) check_special(token, seen);
}

// How many pieces there are besides specials and bytes.
int64_t room_to_learn(const TokenizerTraining& training) {
  const int64_t room = training.vocab_size - internal::kNumSpecials - kNumBytes -
                       static_cast<int64_t>(training.special_tokens.size());
  require<UsageError>(room >= kMinLearned, "tokenizer: a vocabulary of ", training.vocab_size, " with ",
                      training.special_tokens.size(), " special tokens and 256 bytes leaves ", room,
                      " pieces to learn, at least ", kMinLearned, " are needed");
  return room;
}

// A sentence that is learned from besides the text. A space must be a piece, because what its sign falls back
// to are bytes that no longer stand for a space. And readers of tokenizer.json look for every piece of a
// unigram in a text, so what only looks like a byte or a special token must have pieces of its own.
std::string first_sentence(const TokenizerTraining& training) {
  if (training.kind == "bpe") return " ";
  std::string names = "<0x123456789ABCDEF> <unk> <s> </s> <pad>";
  for (const auto& token : training.special_tokens) names += token;
  std::set<std::string_view> characters;
  const auto offsets = internal::character_offsets(names, "tokenizer: the special tokens");
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    characters.insert(std::string_view(names).substr(offsets[i], offsets[i + 1] - offsets[i]));
  }
  std::string sentence;
  for (const auto character : characters) sentence += character;
  return sentence;
}

// The characters that become pieces: all but the rarest, and at most half of what is learned. A small
// vocabulary of Chinese would otherwise be nothing but characters.
internal::Characters choose_alphabet(const std::unordered_map<std::string_view, size_t>& counts,
                                     int64_t room) {
  std::vector<std::pair<size_t, std::string_view>> frequent;
  size_t total = 0;
  for (const auto& [character, count] : counts) {
    if (internal::is_separator(character)) continue;
    frequent.emplace_back(count, character);
    total += count;
  }
  std::ranges::sort(frequent, std::greater<>());
  internal::Characters alphabet;
  double covered = 0;
  for (const auto& [count, character] : frequent) {
    if (covered >= kCoverage * static_cast<double>(total) || std::ssize(alphabet) >= room / 2) break;
    alphabet.insert(character);
    covered += static_cast<double>(count);
  }
  return alphabet;
}

}  // namespace

std::unique_ptr<Tokenizer> train_tokenizer(std::string_view text, const TokenizerTraining& training) {
  check_training(training);
  const int64_t room = room_to_learn(training);
  const auto offsets = internal::character_offsets(text, "tokenizer: the training text");
  const auto alphabet = choose_alphabet(internal::count_characters(text, offsets), room);
  const size_t stride = (text.size() + kMaxTrainingBytes - 1) / kMaxTrainingBytes;
  const std::string model = internal::train_sentencepiece(
      {
          {"model_type", training.kind},
          {"vocab_size", std::to_string(training.vocab_size)},
          {"hard_vocab_limit", "false"},  // what is missing is counted below
          {"character_coverage", "1.0"},  // of the alphabet
          {"control_symbols", internal::join_symbols(training.special_tokens)},
          {"byte_fallback", "true"},
          {"split_digits", "true"},
          {"allow_whitespace_only_pieces", "true"},
      },
      internal::TrainingSentences(text, offsets, alphabet, stride, first_sentence(training)));

  auto trained = std::make_unique<internal::SentencePieceTokenizer>(model, internal::TokenizerFiles{},
                                                                    "tokenizer: the trained model");
  const int64_t filled = trained->vocab_size();
  require<DataError>(filled == training.vocab_size, "tokenizer: the text fills a vocabulary of ", filled,
                     " at most, not ", training.vocab_size,
                     filled < kMinVocabSize ? "; give more text" : "; ask for that many or give more text");
  if (training.kind == "bpe") return trained;
  return internal::with_tokenizer_json(model, internal::unigram_tokenizer_json(*trained));
}

}  // namespace sluice::text
