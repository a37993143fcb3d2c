// How a tokenizer.json puts the text of tokens together.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/tokenizer_json/regex.h"

namespace sluice::text::internal {

// Immutable, safe from any thread.
class Decoder {
 public:
  virtual ~Decoder() = default;
  // Changes the tokens; their text end to end is the result. Throws Error when it grows beyond max_grown() or
  // an expression cannot be matched to it.
  virtual void apply(std::vector<std::string>& tokens, RegexMemory& memory) const = 0;
};

// Reads the member "decoder". Throws DataError naming `where` for a type that is not supported.
std::unique_ptr<Decoder> read_decoder(const Json& component, const std::string& where);

}  // namespace sluice::text::internal
