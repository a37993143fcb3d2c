// The part of a tokenizer that turns one piece of text into ids.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json/vocabulary.h"

namespace sluice::text::internal {

// Whether an id must not come out; as long as the vocabulary, or empty for none.
using BlockedIds = std::vector<bool>;

// What encode() works in, kept from call to call: for one thread at a time.
struct ModelMemory {
  struct Symbol {  // of a piece that is being merged
    TokenId id;    // -1 when it has become part of the one before it
    int32_t previous;
    int32_t next;
  };
  struct Step {  // the best way to the end of a byte
    double score;
    size_t begin;
    TokenId id;  // -1 when there is none yet
  };
  std::vector<Symbol> symbols;
  std::vector<uint64_t> queue;
  std::vector<Step> steps;
};

// Immutable, safe from any thread.
class TokenModel {
 public:
  explicit TokenModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  virtual ~TokenModel() = default;

  // Appends the ids of a piece that is UTF-8. Throws Error for a character that the model has no id for.
  virtual void encode(std::string_view piece, const BlockedIds& blocked, ModelMemory& memory,
                      std::vector<TokenId>& out) const = 0;
  virtual std::optional<TokenId> unk_id() const = 0;
  // Whether the ids of a piece are those of its words, one after another: whether it may be cut before each
  // U+2581, the sign for a space, that follows another character.
  virtual bool can_cut_at_spaces() const = 0;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  const Vocabulary vocabulary_;
};

// Reads the member "model" of a tokenizer.json. Throws DataError naming `where` and the place in it.
std::unique_ptr<TokenModel> read_token_model(const Json& model, const std::string& where);
// Its types.
std::unique_ptr<TokenModel> read_bpe(const Json& model, const std::string& where);
std::unique_ptr<TokenModel> read_unigram(const Json& model, const std::string& where);

}  // namespace sluice::text::internal
