// Names, numbers, strings and signs inside a tag.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "text/jinja/lexer.h"

namespace sluice::text::jinja {

class TokenReader {
 public:
  TokenReader(std::string source, const std::string& where) : source_(std::move(source)), where_(where) {}

  bool at_end() const { return at_ == source_.size(); }
  int line() const { return line_; }
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  // The next `size` bytes, line ends counted.
  std::string_view take(size_t size);
  void skip_white_space();
  // Throws DataError when nothing that is known begins here.
  Token next();

  template <class... Parts>
  [[noreturn]] void fail_at(int line, const Parts&... parts) const {
    sluice::fail<DataError>(where_, ":", line, ": ", parts...);
  }

 private:
  Token name();
  Token number();
  bool take_real(Token& token);
  void take_integer(Token& token);
  Token string();
  void escape(std::string& out);
  void code_point_escape(std::string& out, int digits);
  size_t digits_with_underscores(size_t from, const char* digits) const;

  const std::string source_;
  const std::string& where_;
  size_t at_ = 0;
  int line_ = 1;
};

}  // namespace sluice::text::jinja
