// Text to token ids and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::text {

using TokenId = int32_t;

// Immutable, safe from any thread. Encoding never adds special tokens: who wants one puts it there.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // What the vocabulary lacks becomes the unknown token, a run of such characters one token; bytes that are
  // not UTF-8 are read as U+FFFD.
  virtual std::vector<TokenId> encode(std::string_view text) const = 0;
  // Ids out of range are an Error. Special tokens decode to nothing, the unknown one too.
  virtual std::string decode(std::span<const TokenId> ids) const = 0;

  virtual int64_t vocab_size() const = 0;
  virtual std::optional<TokenId> bos_id() const = 0;
  virtual std::optional<TokenId> eos_id() const = 0;
  virtual std::optional<TokenId> pad_id() const = 0;

  // SHA-256 of the bytes that define it; equal hashes mean equal ids.
  virtual const std::string& hash() const = 0;
  // Writes its files (tokenizer.model, tokenizer_config.json, ...) as transformers and llama.cpp expect them;
  // files that lay beside a loaded model are written byte for byte.
  virtual void save(const std::filesystem::path& directory) const = 0;
};

// Loads the tokenizer of a model directory, or a SentencePiece file itself. Throws DataError naming what was
// looked for when there is none.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

// Trains a SentencePiece tokenizer whose pieces are the single characters of `text` (identity normalizer, no
// dummy prefix, white space kept, "\n" a symbol of its own, character coverage 1.0), so that every text of
// those characters comes back unchanged. Ids: 0 unknown, 1 begin, 2 end, 3 padding. Throws DataError for a
// text that is empty (line ends and tabs aside), is not UTF-8, or holds a zero byte or U+2581,
// SentencePiece's own sign for a space.
std::unique_ptr<Tokenizer> train_character_tokenizer(std::string_view text);

}  // namespace sluice::text
