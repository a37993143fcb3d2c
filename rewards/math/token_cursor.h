// A place among tokens.
#pragma once

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "rewards/math/tokens.h"

namespace sluice::rewards::math {

// Once something cannot be read, the place is the end: every loop over tokens stops by itself.
class TokenCursor {
 public:
  explicit TokenCursor(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const Token& before() const { return tokens_[at_ == 0 ? 0 : at_ - 1]; }
  bool at(TokenKind kind) const { return peek().kind == kind; }
  bool at_sign(std::string_view sign) const { return peek().is(TokenKind::Sign, sign); }
  bool at_command(std::string_view name) const { return peek().is(TokenKind::Command, name); }
  bool at_end() const { return at(TokenKind::End); }

  Token next() {
    Token token = peek();
    if (!at_end()) ++at_;
    return token;
  }
  bool take_sign(std::string_view sign) {
    const bool there = at_sign(sign);
    if (there) ++at_;
    return there;
  }
  void expect_sign(std::string_view sign) {
    if (!take_sign(sign)) fail();
  }
  // The first character of a token alone: \frac43 is four thirds, xy is x times y.
  char next_character() {
    Token& token = tokens_[at_];
    const char first = token.text.front();
    token.text.erase(0, 1);
    token.spaced = false;
    token.cut = true;
    if (token.text.empty()) ++at_;
    return first;
  }

  void fail() {
    failed_ = true;
    at_ = tokens_.size() - 1;
  }
  bool failed() const { return failed_; }

 private:
  std::vector<Token> tokens_;  // the last is End
  size_t at_ = 0;
  bool failed_ = false;
};

}  // namespace sluice::rewards::math
