// A SentencePiece model with the files that lie beside it.
//
// Special tokens are what transformers' conversion makes special: control pieces, the unknown piece and the
// tokens of added_tokens.json and added_tokens_decoder. Specials::Parse cuts them out of the text first;
// user-defined pieces are found by the library in either case. Specials::AsText is the library's encoding,
// but where that has a piece which added_tokens_decoder calls special, the text is cut inside of its
// spelling.
//
// A model that puts a space before every text (the dummy prefix) does so where a text begins; what follows a
// special token gets one when tokenizer_config.json says `legacy`, or says nothing and the model is a
// unigram: checked against transformers 5.23, whose LlamaTokenizer has legacy = false. As in the library, and
// unlike there, a text that begins with a space gets another.
#pragma once

#include <sentencepiece_processor.h>

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/sentencepiece/model.h"
#include "text/sentencepiece/settings.h"
#include "text/tokenizer.h"

namespace sluice::text::internal {

// SentencePiece writes nothing to stderr from here on: what goes wrong comes back as a status. For the whole
// process; safe from any thread.
void silence_sentencepiece();

class SentencePieceTokenizer : public Tokenizer {
 public:
  // `model` is a serialized ModelProto. Throws DataError naming `where` when the model or one of `files` is
  // malformed.
  SentencePieceTokenizer(std::string model, TokenizerFiles files, const std::string& where);

  std::vector<TokenId> encode(std::string_view text, Specials specials = Specials::Parse) const override;
  std::vector<TokenId> with_specials(std::vector<TokenId> ids) const override;
  std::string decode(std::span<const TokenId> ids, bool keep_specials = false) const override;
  std::optional<TokenId> find(std::string_view token) const override;
  int64_t vocab_size() const override { return std::ssize(tokens_); }
  std::optional<TokenId> bos_id() const override { return bos_; }
  std::optional<TokenId> eos_id() const override { return eos_; }
  std::optional<TokenId> pad_id() const override { return pad_; }
  const std::string& hash() const override { return hash_; }
  void save(const std::filesystem::path& directory) const override;

  // Everything that save() writes: the model, the files that lay beside it as they were, and what
  // transformers needs beyond them.
  TokenizerFiles files() const;

  // The piece of an id, or the added token's text; "▁" stands for a space. Throws Error when the id is out of
  // range.
  const std::string& piece(TokenId id) const;
  bool is_special(TokenId id) const;
  bool is_text(TokenId id) const { return !is_special(id) && !processor_.IsByte(id); }
  float score(TokenId id) const { return processor_.GetScore(id); }

 private:
  enum class Place : uint8_t { Text, Special, Added };  // Added: text of its own, no piece
  struct Token {
    std::string text;
    Place place = Place::Added;
    bool is_piece = false;  // special, and yet the library gives it for text
  };

  void read_tokens(const SentencePieceModel& model, const std::string& where);
  void append_ids(const sentencepiece::SentencePieceProcessor& processor, std::string_view text,
                  std::vector<TokenId>& ids) const;
  void append_as_text(const sentencepiece::SentencePieceProcessor& processor, std::string_view text,
                      std::vector<TokenId>& ids) const;
  bool is_clean(std::span<const TokenId> ids) const;
  void append_text(std::vector<std::string_view>& pieces, std::string& text) const;
  std::string config() const;
  std::string special_tokens() const;

  const std::string model_;
  const TokenizerFiles files_;
  const SentencePieceSettings settings_;
  std::string hash_;
  // Only const members are called after construction.
  sentencepiece::SentencePieceProcessor processor_;
  sentencepiece::SentencePieceProcessor without_prefix_;
  const sentencepiece::SentencePieceProcessor* first_ = &processor_;   // for the begin of a text
  const sentencepiece::SentencePieceProcessor* later_ = &processor_;   // for what follows a special token
  const sentencepiece::SentencePieceProcessor* inside_ = &processor_;  // for what follows other text
  std::vector<Token> tokens_;                                          // by id
  std::map<std::string, TokenId, std::less<>> specials_;               // and added tokens
  std::optional<AddedTokenFinder> finder_;                             // of them
  std::optional<AddedTokenFinder> piece_finder_;                       // of special tokens that are pieces
  std::optional<TokenId> bos_, eos_, pad_;
};

// tokenizer.json of a tokenizer whose pieces are single characters, or a unigram with byte fallback: the form
// that transformers, vLLM and others read without SentencePiece.
std::string character_tokenizer_json(const SentencePieceTokenizer& tokenizer);
std::string unigram_tokenizer_json(const SentencePieceTokenizer& tokenizer);

// The tokenizer of a model and such a tokenizer.json, as it will be when it has been saved and loaded.
std::unique_ptr<Tokenizer> with_tokenizer_json(std::string model, std::string json);

}  // namespace sluice::text::internal
