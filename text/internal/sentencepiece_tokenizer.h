// A SentencePiece model with the files that lie beside it.
#pragma once

#include <sentencepiece_processor.h>

#include <map>
#include <string>

#include "text/tokenizer.h"

namespace sluice::text::internal {

// File name -> bytes of what belongs to a tokenizer besides tokenizer.model.
using TokenizerFiles = std::map<std::string, std::string>;

// SentencePiece writes nothing to stderr from here on: what goes wrong comes back as a status. For the whole
// process; safe from any thread.
void silence_sentencepiece();

class SentencePieceTokenizer : public Tokenizer {
 public:
  // `model` is a serialized ModelProto. save() writes `files` as they are and fills in what transformers
  // needs beyond them. Throws DataError naming `where` when the model is malformed.
  SentencePieceTokenizer(std::string model, TokenizerFiles files, const std::string& where);

  std::vector<TokenId> encode(std::string_view text, Specials specials = Specials::Parse) const override;
  std::vector<TokenId> with_specials(std::vector<TokenId> ids) const override;
  std::string decode(std::span<const TokenId> ids, bool keep_specials = false) const override;
  std::optional<TokenId> find(std::string_view token) const override;
  int64_t vocab_size() const override { return vocab_size_; }
  std::optional<TokenId> bos_id() const override { return known(processor_.bos_id()); }
  std::optional<TokenId> eos_id() const override { return known(processor_.eos_id()); }
  std::optional<TokenId> pad_id() const override { return known(processor_.pad_id()); }
  const std::string& hash() const override { return hash_; }
  void save(const std::filesystem::path& directory) const override;

  // The piece of an id; "▁" stands for a space. Throws Error when the id is out of range.
  const std::string& piece(TokenId id) const;

 private:
  std::optional<TokenId> known(int id) const;
  bool is_special(TokenId id) const;
  std::string config() const;
  std::string special_tokens() const;

  const std::string model_;
  const TokenizerFiles files_;
  const std::string hash_;
  sentencepiece::SentencePieceProcessor processor_;  // only const members are called after construction
  int64_t vocab_size_ = 0;
};

// tokenizer.json of a tokenizer whose pieces are single characters: the form that transformers, vLLM and
// others read without SentencePiece.
std::string character_tokenizer_json(const SentencePieceTokenizer& tokenizer);

}  // namespace sluice::text::internal
