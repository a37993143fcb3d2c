#include <sentencepiece_trainer.h>

#include <array>
#include <set>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "text/internal/sentencepiece_tokenizer.h"
#include "text/internal/utf8.h"
#include "text/tokenizer.h"

namespace sluice::text {
namespace {

// Characters the trainer uses as separators or for its own ends: it would skip them, or the sentence they are
// in. They become symbols the model is given instead of pieces it learns.
constexpr std::string_view kNewline = "\n";
constexpr std::array<std::string_view, 2> kNotLearned = {"\t", "\u2585"};
constexpr std::string_view kSpaceMark = "\u2581";  // how SentencePiece writes a space
constexpr size_t kSentenceCharacters = 1000;       // below the trainer's limit of 4192 bytes
constexpr int kNumSpecials = 4;                    // unknown, begin, end, padding

bool is_separator(std::string_view character) {
  return character == kNewline || character == kNotLearned[0] || character == kNotLearned[1];
}

// Hands the text to the trainer in pieces between separators, each short enough not to be skipped.
class TextSentences : public sentencepiece::SentenceIterator {
 public:
  TextSentences(std::string_view text, const std::vector<size_t>& offsets) : text_(text), offsets_(offsets) {
    Next();
  }

  bool done() const override { return sentence_.empty(); }
  const std::string& value() const override { return sentence_; }
  sentencepiece::util::Status status() const override { return {}; }

  void Next() override {
    sentence_.clear();
    for (size_t taken = 0; at_ + 1 < offsets_.size() && taken < kSentenceCharacters; ++at_) {
      const auto character = text_.substr(offsets_[at_], offsets_[at_ + 1] - offsets_[at_]);
      if (!is_separator(character)) {
        sentence_ += character;
        ++taken;
      } else if (taken > 0) {
        return;
      }
    }
  }

 private:
  const std::string_view text_;
  const std::vector<size_t>& offsets_;
  size_t at_ = 0;  // index into offsets_ of the next character
  std::string sentence_;
};

std::set<std::string_view> distinct_characters(std::string_view text, const std::vector<size_t>& offsets) {
  std::set<std::string_view> out;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    out.insert(text.substr(offsets[i], offsets[i + 1] - offsets[i]));
  }
  return out;
}

void check_characters(const std::set<std::string_view>& characters) {
  bool any_learned = false;
  for (const auto character : characters) any_learned |= !is_separator(character);
  require<DataError>(any_learned, "tokenizer: the training text has no character besides line ends and tabs");
  require<DataError>(!characters.contains(std::string_view("\0", 1)),
                     "tokenizer: the training text holds a zero byte, which SentencePiece cannot learn");
  require<DataError>(!characters.contains(kSpaceMark),
                     "tokenizer: the training text holds U+2581, which SentencePiece writes for a space");
}

}  // namespace

std::unique_ptr<Tokenizer> train_character_tokenizer(std::string_view text) {
  const auto offsets = internal::character_offsets(text, "tokenizer: the training text");
  const auto characters = distinct_characters(text, offsets);
  check_characters(characters);

  std::string symbols(kNewline);
  const size_t vocab_size = kNumSpecials + characters.size() + (characters.contains(kNewline) ? 0 : 1);
  for (const auto character : kNotLearned) {
    if (characters.contains(character)) symbols += "," + std::string(character);
  }
  const std::unordered_map<std::string, std::string> spec = {
      {"model_type", "char"},
      {"vocab_size", std::to_string(vocab_size)},
      {"character_coverage", "1.0"},
      {"use_all_vocab", "true"},  // coverage alone is a rounded share: it would lose one character in 2^24
      {"user_defined_symbols", symbols},
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "3"},
      {"num_threads", "1"},
  };
  internal::silence_sentencepiece();
  TextSentences sentences(text, offsets);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(spec, &sentences, &model);
  require(status.ok(), "tokenizer: SentencePiece cannot train on this text: ", status.message());

  const internal::SentencePieceTokenizer trained(model, {}, "tokenizer: the trained model");
  for (const auto character : characters) {
    const auto ids = trained.encode(character);
    require(ids.size() == 1 && trained.decode(ids) == character, "tokenizer: the character \"", character,
            "\" did not become a piece");
  }
  return std::make_unique<internal::SentencePieceTokenizer>(
      model, internal::TokenizerFiles{{"tokenizer.json", internal::character_tokenizer_json(trained)}},
      "tokenizer: the trained model");
}

std::string internal::character_tokenizer_json(const SentencePieceTokenizer& tokenizer) {
  const auto replace = [](const char* from, const char* to) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  Json vocab = Json::object();
  auto& pieces = vocab.get_ref<Json::object_t&>();  // operator[] would look through all of them each time
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) pieces.emplace_back(tokenizer.piece(id), id);
  Json specials = Json::array();
  for (TokenId id = 0; id < kNumSpecials; ++id) {
    specials.push_back({{"id", id},
                        {"content", tokenizer.piece(id)},
                        {"single_word", false},
                        {"lstrip", false},
                        {"rstrip", false},
                        {"normalized", false},
                        {"special", true}});
  }
  // Byte-pair encoding without merges is one piece per character. Like SentencePiece, it writes a run of
  // unknown characters as one unknown token.
  const Json out = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", specials},
      {"normalizer", replace(" ", "▁")},
      {"pre_tokenizer", nullptr},
      {"post_processor", nullptr},
      {"decoder",
       {{"type", "Sequence"}, {"decoders", Json::array({replace("▁", " "), Json{{"type", "Fuse"}}})}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", tokenizer.piece(0)},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", true},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocab},
        {"merges", Json::array()}}},
  };
  return out.dump(2) + "\n";
}

}  // namespace sluice::text
