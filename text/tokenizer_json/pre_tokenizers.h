// How a tokenizer.json cuts a text into pieces, each of which is encoded by itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/tokenizer_json/regex.h"

namespace sluice::text::internal {

struct Piece {
  Range range;    // of Pieces::text
  bool at_start;  // it begins where what is encoded begins
};

struct Pieces {
  std::string text;
  std::vector<Piece> list;
};

// What a pre-tokenizer works in, kept from call to call: for one thread at a time.
struct CutMemory {
  RegexMemory regex;
  std::vector<Range> matches;
  Pieces pieces;  // the next ones, while they are made
};

// Immutable, safe from any thread.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Throws Error when an expression cannot be matched to the text.
  virtual void apply(Pieces& pieces, CutMemory& memory) const = 0;
};

// Reads the member "pre_tokenizer". Throws DataError naming `where` for a type that is not supported.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& component, const std::string& where);

// What becomes of the matches that a text is cut at.
enum class CutBehavior { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

// Appends the parts of text [0, size), none of them empty. `inverted` calls a match what is between matches.
void cut_at(const std::vector<Range>& matches, size_t size, CutBehavior behavior, bool inverted,
            std::vector<Range>& out);

}  // namespace sluice::text::internal
