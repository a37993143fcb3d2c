// Which tokens of a text lie where in it.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace sluice::text {

using ByteRange = std::pair<size_t, size_t>;   // [first, end)
using TokenRange = std::pair<size_t, size_t>;  // likewise, of tokens

// The tokens of one text, encoded as a whole. Where they lie is found out by encoding what stands before a
// place: a token ends there when the ids of that are the first of all ids.
class TokenMap {
 public:
  TokenMap(const Tokenizer& tokenizer, std::string text);  // the tokenizer outlives it

  const std::vector<TokenId>& ids() const { return ids_; }
  const std::string& text() const { return text_; }

  // The tokens whose first byte lies in the range: one that reaches into it from before is not among them,
  // one that reaches out of it is. Throws DataError when the ids there do not tell, as happens where a
  // tokenizer reads a text otherwise when it goes on.
  TokenRange beginning_in(const ByteRange& range);
  // The tokens that hold a byte of the range, or may.
  TokenRange touching(const ByteRange& range);

 private:
  // How many tokens end at a place or before it, and how many begin before it.
  struct Cut {
    size_t ended = 0, begun = 0;
  };
  const Cut& cut(size_t byte);
  size_t begun_before(size_t byte);
  bool ends_at(size_t byte, size_t& count) const;

  const Tokenizer& tokenizer_;
  const std::string text_;
  const std::vector<TokenId> ids_;
  std::map<size_t, Cut> cuts_;  // that have been asked for
};

}  // namespace sluice::text
