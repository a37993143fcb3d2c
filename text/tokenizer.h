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

// What becomes of text that spells an added or control token, "<|im_end|>" or "</s>".
enum class Specials {
  Parse,   // its id: for text that a chat template or a person wrote
  AsText,  // the pieces of its letters: for text that must not be able to end a turn
};

// Immutable, safe from any thread. Encoding never adds tokens of its own: who wants a begin of sequence puts
// it there (with_specials() does as the model's own post-processor would).
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // What the vocabulary lacks becomes the unknown token, a run of such characters one token where the model
  // says so; bytes that are not UTF-8 are read as U+FFFD. Throws DataError for a text that is too long (1
  // GiB; less for SentencePiece), Error for what the tokenizer's own rules cannot be applied to.
  virtual std::vector<TokenId> encode(std::string_view text, Specials specials = Specials::Parse) const = 0;
  // The ids with what the tokenizer's own files put around a single text: begin of sequence and the like.
  virtual std::vector<TokenId> with_specials(std::vector<TokenId> ids) const = 0;
  // Ids out of range are an Error, and what the tokenizer's own rules cannot be applied to. Special tokens
  // decode to nothing, the unknown one too, unless `keep_specials`.
  virtual std::string decode(std::span<const TokenId> ids, bool keep_specials = false) const = 0;
  // The id whose token is spelled exactly so, added tokens included.
  virtual std::optional<TokenId> find(std::string_view token) const = 0;

  virtual int64_t vocab_size() const = 0;
  virtual std::optional<TokenId> bos_id() const = 0;
  virtual std::optional<TokenId> eos_id() const = 0;
  virtual std::optional<TokenId> pad_id() const = 0;

  // SHA-256 of the bytes that define it; equal hashes mean equal ids.
  virtual const std::string& hash() const = 0;
  // Writes its files (tokenizer.model, tokenizer_config.json, ...) as transformers and llama.cpp expect them;
  // files that lay beside a loaded model are written byte for byte. Throws Error when one cannot be written.
  virtual void save(const std::filesystem::path& directory) const = 0;
};

// Loads the tokenizer of a model directory, a tokenizer.json or a SentencePiece file itself. A directory with
// both is read from its tokenizer.json, as transformers does. Throws DataError naming what was looked for
// when there is none.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

// What load_tokenizer() makes of it, for people: "SentencePiece bpe", "tokenizer.json Unigram". Throws
// DataError for a file that is missing or malformed.
std::string tokenizer_kind(const std::filesystem::path& path);

// Trains a SentencePiece tokenizer whose pieces are the single characters of `text` (identity normalizer, no
// dummy prefix, white space kept, "\n" a symbol of its own, character coverage 1.0), so that every text of
// those characters comes back unchanged. Ids: 0 unknown, 1 begin, 2 end, 3 padding. Throws DataError for a
// text that is empty (line ends and tabs aside), is not UTF-8, or holds a zero byte or U+2581,
// SentencePiece's own sign for a space.
std::unique_ptr<Tokenizer> train_character_tokenizer(std::string_view text);

struct TokenizerTraining {
  std::string kind = "bpe";                      // bpe | unigram
  int64_t vocab_size = 8000;                     // 512 .. 32,000
  std::vector<std::string> special_tokens = {};  // further symbols of their own, "<|im_start|>"
};
inline constexpr size_t kMaxTrainingBytes = 64u << 20;

// Trains a SentencePiece tokenizer with byte fallback, so that every text comes back unchanged (identity
// normalizer, white space kept, digits split), but for U+2581, which comes back as the space it stands for.
// Ids: 0 unknown, 1 begin, 2 end, 3 padding, then the special tokens, the 256 bytes and what was learned. The
// same text gives the same file. Of a text longer than kMaxTrainingBytes evenly spread lines are learned
// from. Throws DataError as above and when the text is too small for the vocabulary, naming the largest that
// it can fill; UsageError for a training that makes no sense.
std::unique_ptr<Tokenizer> train_tokenizer(std::string_view text, const TokenizerTraining& training);

// Decodes ids as they come. What push() returns, end to end and then finish(), is decode() of all ids; it
// never holds part of a UTF-8 character.
class StreamingDecoder {
 public:
  explicit StreamingDecoder(const Tokenizer& tokenizer);  // outlives it
  std::string push(TokenId id);                           // throws as decode() does
  std::string finish();  // what is still held back, incomplete characters as U+FFFD

 private:
  const Tokenizer& tokenizer_;
  std::vector<TokenId> byte_ids_;  // of "<0x00>" to "<0xFF>", ascending
  std::vector<TokenId> window_;    // ids whose text is not all out yet, after one that gives the context
  size_t emitted_ = 0;             // bytes of decode(window_) that are out
};

}  // namespace sluice::text
