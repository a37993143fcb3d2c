// Tokens that are found in a text before it is cut into pieces.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json/byte_trie.h"
#include "text/tokenizer_json/vocabulary.h"

namespace sluice::text::internal {

inline constexpr size_t kMaxAddedToken =
    1024;  // bytes: they bound what a look at one place of a text can cost

struct AddedToken {
  std::string content;
  bool single_word = false;  // not inside a longer word
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  bool normalized = false;   // found, in its normal form, in the normalized text
  bool special = false;      // decodes to nothing

  bool operator==(const AddedToken&) const = default;
};

// The added tokens of a tokenizer, while its files are read. A token that the vocabulary has keeps its id
// there; any other gets the next id behind all there are.
class AddedTokenList {
 public:
  explicit AddedTokenList(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  // A token that is there already gets the new properties; once special, it stays so. Throws DataError naming
  // `where` when the file says another id than the token gets, and for one that is too long. An empty one is
  // left out.
  void add(const AddedToken& token, std::optional<int64_t> declared_id, const std::string& where);

  std::optional<TokenId> id(const std::string& content) const;
  // Whether this token is there, with these properties.
  bool has(const AddedToken& token) const;
  const std::map<TokenId, AddedToken>& tokens() const { return tokens_; }

 private:
  const Vocabulary& vocabulary_;
  std::map<TokenId, AddedToken> tokens_;
  std::map<std::string, TokenId, std::less<>> ids_;
};

// Reads {"content": "</s>", "lstrip": false, ...}. Throws DataError naming `where`.
AddedToken read_added_token(const Json& object, const std::string& where);

// A part of a text: a token, or text between tokens where `id` is -1.
struct TextPart {
  size_t begin;
  size_t end;
  TokenId id;
};

// Finds tokens: at each place the longest, from left to right. Immutable, safe from any thread.
class AddedTokenFinder {
 public:
  // `normal` gives the text to look for. Throws DataError naming `where` when the texts are too long
  // together.
  AddedTokenFinder(const std::map<TokenId, AddedToken>& tokens,
                   const std::function<std::string(TokenId, const AddedToken&)>& normal,
                   const std::string& where);

  // Appends the parts of a text that is UTF-8. Special tokens count as text where `specials` says so.
  void split(std::string_view text, Specials specials, std::vector<TextPart>& out) const;

 private:
  const std::map<TokenId, AddedToken> tokens_;
  ByteTrie trie_;  // its values are ids
};

}  // namespace sluice::text::internal
