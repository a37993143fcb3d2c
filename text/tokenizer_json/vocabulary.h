// The tokens of a model, by id and by spelling.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"

namespace sluice::text::internal {

class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;  // what holds the tokens stays where it is
  Vocabulary& operator=(Vocabulary&&) = default;

  // Ids may come in any order and leave holes. A spelling that comes again is found under its last id.
  // Throws DataError naming `where` for an id that is taken or out of range.
  void add(const std::string& token, int64_t id, const std::string& where);
  // To be called when all are added. Throws DataError when there are more holes than tokens.
  void finish(const std::string& where);

  std::optional<TokenId> find(std::string_view token) const;
  // The id of "<0x0A>", a byte of what the vocabulary lacks.
  std::optional<TokenId> find_byte(unsigned char byte) const { return bytes_[byte]; }
  // The spelling; null for a hole.
  const std::string* token(TokenId id) const;

  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }  // one above the highest id
  int64_t count() const { return count_; }                               // without the holes

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  std::unordered_map<std::string, TokenId, Hash, std::equal_to<>> ids_;
  std::vector<const std::string*> tokens_;  // the keys of ids_
  std::array<std::optional<TokenId>, 256> bytes_;
  int64_t count_ = 0;
};

}  // namespace sluice::text::internal
