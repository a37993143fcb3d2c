// What a tokenizer.json does to a text before it is cut.
#pragma once

#include <memory>
#include <string>

#include "base/json.h"
#include "text/tokenizer_json/regex.h"

namespace sluice::text::internal {

struct NormalText {
  std::string text;
  bool at_start;  // its first character was, or stands for, the first character of what is encoded
  size_t max_bytes = max_grown(text.size());
};

// Immutable, safe from any thread.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Throws Error when the text grows beyond its max_bytes or an expression cannot be matched to it.
  virtual void apply(NormalText& text, RegexMemory& memory) const = 0;
};

// Reads the member "normalizer". Throws DataError naming `where` for a type that is not supported.
std::unique_ptr<Normalizer> read_normalizer(const Json& component, const std::string& where);

// The pattern of a Replace or Split, {"String": "a"} or {"Regex": "a+"}. Throws DataError naming `where`.
Pattern read_pattern(const Json& component, const std::string& where);

}  // namespace sluice::text::internal
