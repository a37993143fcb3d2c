// The parser's place among the tokens, and how deep it stands.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/jinja/lexer.h"

namespace sluice::text::jinja {

class TokenStream {
 public:
  TokenStream(std::vector<Token> tokens, const std::string& where, int64_t max_depth)
      : tokens_(std::move(tokens)), where_(where), max_depth_(max_depth) {}

  const Token& current() const { return tokens_[place_]; }
  const Token& ahead() const { return tokens_[std::min(place_ + 1, tokens_.size() - 1)]; }
  Token take() {
    const size_t at = place_;
    place_ = std::min(place_ + 1, tokens_.size() - 1);
    return tokens_[at];
  }
  bool is(Token::Kind kind) const { return current().kind == kind; }
  bool is_name(std::string_view name) const { return is(Token::Kind::Name) && current().text == name; }
  bool is_sign(std::string_view sign) const { return is(Token::Kind::Sign) && current().text == sign; }
  bool skip_name(std::string_view name) { return is_name(name) && (take(), true); }
  bool skip_sign(std::string_view sign) { return is_sign(sign) && (take(), true); }
  void expect_sign(std::string_view sign) {
    if (!skip_sign(sign)) fail("'", sign, "' is wanted, saw ", describe());
  }
  std::string expect_name(const char* what) {
    if (!is(Token::Kind::Name)) fail(what, " is wanted, saw ", describe());
    return take().text;
  }

  // What stands here, for messages.
  std::string describe() const;

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    fail_at(current().line, parts...);
  }
  template <class... Parts>
  [[noreturn]] void fail_at(int line, const Parts&... parts) const {
    sluice::fail<DataError>(where_, ":", line, ": ", parts...);
  }

  int64_t max_depth() const { return max_depth_; }

 private:
  friend class Deeper;
  const std::vector<Token> tokens_;
  const std::string& where_;
  const int64_t max_depth_;
  size_t place_ = 0;
  int64_t depth_ = 0;
};

// One level deeper while it lives.
class Deeper {
 public:
  explicit Deeper(TokenStream& stream) : stream_(stream) {
    if (stream_.depth_ == stream_.max_depth_)
      stream_.fail("nested deeper than ", stream_.max_depth_, " levels");
    ++stream_.depth_;
  }
  ~Deeper() { --stream_.depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  TokenStream& stream_;
};

}  // namespace sluice::text::jinja
