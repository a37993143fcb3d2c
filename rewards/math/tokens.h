// The signs of an answer in LaTeX or plain text, with what is there for the eye alone left out.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::rewards::math {

constexpr size_t kMaxAnswerBytes = 4096;
constexpr size_t kMaxDigits = 1000;  // of one number

enum class TokenKind {
  Number,   // digits with at most one point, separators of thousands removed; 0.(3) is 0.333...
  Letters,  // as they stand together
  Text,     // what \text{...} holds
  Command,  // a name: frac, sqrt, sin, pi
  Sign,     // one of ASCII, or ** >= <= != +- -+ \{ \} \\ cup in deg
  End
};

struct Token {
  TokenKind kind = TokenKind::End;
  std::string text = {};
  bool spaced = false;  // blank space before it
  bool cut = false;     // what stood before it in the token was taken

  bool is(TokenKind wanted, std::string_view words) const { return kind == wanted && text == words; }
};

// All of `text`, ending with End. Empty where something in it belongs to no answer: another alphabet's
// digits, a control character, a bracket of \text that does not close, too long a number, more than
// kMaxAnswerBytes.
std::optional<std::vector<Token>> tokenize(std::string_view text);

// The same for two texts that differ in spelling alone.
std::string spelled(const std::vector<Token>& tokens);

// Letters and digits of every token, in lower case, a blank between words: "\text{(C)}" is "c".
std::string words_of(const std::vector<Token>& tokens);

}  // namespace sluice::rewards::math
