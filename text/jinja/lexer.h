// A template cut into tokens, its white space already dealt with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::text::jinja {

struct Token {
  // Text is what stands between the tags; the tags' own signs are Begin and End.
  enum class Kind {
    Text,
    BlockBegin,
    BlockEnd,
    OutputBegin,
    OutputEnd,
    Name,
    String,
    Integer,
    Real,
    Sign,
    End
  };
  Kind kind = Kind::End;
  int line = 1;
  std::string text;  // of a string, without quotes and escapes
  int64_t integer = 0;
  double real = 0;
};

// Cuts with trim_blocks and lstrip_blocks on and the last line end taken off, as transformers does. The last
// token is End. Throws DataError "where:line: ..." for text that is not UTF-8 and for what no token begins
// with.
std::vector<Token> tokenize(std::string_view source, const std::string& where);

}  // namespace sluice::text::jinja
