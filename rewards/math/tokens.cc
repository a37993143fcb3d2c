#include "rewards/math/tokens.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "rewards/internal/ascii.h"
#include "rewards/math/commands.h"
#include "rewards/math/unicode.h"

namespace sluice::rewards::math {
namespace {

using internal::is_digit;
using internal::is_letter;
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '~'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

constexpr int kMaxTextDepth = 4;

class Tokenizer {
 public:
  explicit Tokenizer(std::string_view text, int depth = 0) : text_(text), depth_(depth) {}

  std::optional<std::vector<Token>> run() {
    while (good_ && at_ < text_.size()) next();
    if (!good_) return std::nullopt;
    put(TokenKind::End, "");
    return std::move(tokens_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool follows(std::string_view wanted) const { return text_.substr(at_).starts_with(wanted); }
  bool take(std::string_view wanted) {
    if (!follows(wanted)) return false;
    at_ += wanted.size();
    return true;
  }

  void put(TokenKind kind, std::string_view text) {
    if (text == "(" || text == "[" || text == "\\{") ++brackets_;
    if (text == ")" || text == "]" || text == "\\}") --brackets_;
    tokens_.push_back({kind, std::string(text), std::exchange(spaced_, false)});
  }

  void next() {
    const char c = peek();
    if (is_space(c)) {
      spaced_ = true;
      ++at_;
    } else if (c == '\\') {
      command();
    } else if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
      number();
    } else if (is_letter(c)) {
      letters();
    } else if (c == '$') {
      ++at_;
    } else {
      sign();
    }
  }

  void sign() {
    for (const std::string_view two : {"**", "<=", ">=", "!=", "=="}) {
      if (take(two)) return put(TokenKind::Sign, two == "**" ? "^" : two == "==" ? "=" : two);
    }
    good_ = good_ && std::string_view("+-*/^_()[]{},;=<>!|%'&:").find(peek()) != std::string_view::npos;
    put(TokenKind::Sign, text_.substr(at_++, 1));
  }

  void command() {
    if (take("\\\\")) return put(TokenKind::Sign, "\\\\");
    if (take("\\{")) return put(TokenKind::Sign, "\\{");
    if (take("\\}")) return put(TokenKind::Sign, "\\}");
    if (take("\\%")) return put(TokenKind::Sign, "%");
    if (take("\\$")) return put(TokenKind::Sign, "$");
    if (take("\\|")) return put(TokenKind::Sign, "|");
    if (take("\\!") || take("\\(") || take("\\)") || take("\\[") || take("\\]")) return;
    if (take("\\ ") || take("\\,") || take("\\;") || take("\\:") || take("\\>") || take("\\\n")) {
      spaced_ = true;
      return;
    }
    size_t end = at_ + 1;
    while (end < text_.size() && is_letter(text_[end])) ++end;
    const std::string_view name = text_.substr(at_ + 1, end - at_ - 1);
    good_ = good_ && !name.empty();
    at_ = end;
    named(name);
  }

  void named(std::string_view name) {
    switch (use_of(name)) {
      case CommandUse::Layout:
        if (name == "left" || name == "right") take(".");
        return;
      case CommandUse::Space:
        spaced_ = true;
        return;
      case CommandUse::Text:
        return text();
      case CommandUse::Environment:
        return environment(name);
      case CommandUse::Alphabet:
        return put(TokenKind::Command, argument() == "R" ? "reals" : "mathbb");
      case CommandUse::Token: {
        const auto spelling = spelling_of(name);
        return put(spelling.kind, spelling.text);
      }
    }
  }

  // The inside of the braces that follow; a single letter or sign where none do.
  std::string_view argument() {
    while (is_space(peek())) ++at_;
    if (peek() != '{') {
      good_ = good_ && at_ < text_.size();
      return good_ ? text_.substr(at_++, 1) : "";
    }
    const size_t begin = at_ + 1;
    int depth = 0;
    for (; at_ < text_.size(); ++at_) {
      if (peek() == '{') ++depth;
      if (peek() == '}' && --depth == 0) return text_.substr(begin, at_++ - begin);
    }
    good_ = false;
    return "";
  }

  // Words are kept as they stand; a number or a lone letter in another type means the same as without.
  void text() {
    const std::string_view inside = argument();
    const size_t first = std::min(inside.find_first_not_of(" ~"), inside.size());
    const auto num_letters = std::ranges::count_if(inside, is_letter);
    const bool begins = first < inside.size() && (is_letter(inside[first]) || inside[first] == '(');
    const bool plain =
        std::ranges::all_of(inside, [](char c) { return c >= ' ' && c <= '~' && c != '\\' && c != '$'; });
    if (is_function(inside)) return put(TokenKind::Command, inside);
    if (plain && begins && (num_letters > 1 || (num_letters == 1 && inside[first] == '(')))
      return put(TokenKind::Text, inside);
    Tokenizer inner(inside, depth_ + 1);
    auto tokens = depth_ < kMaxTextDepth ? inner.run() : std::nullopt;
    good_ = good_ && tokens.has_value();
    if (!good_) return;
    tokens->pop_back();
    if (!tokens->empty()) tokens->front().spaced |= std::exchange(spaced_, false);
    tokens_.insert(tokens_.end(), tokens->begin(), tokens->end());
  }

  void environment(std::string_view which) {
    const std::string_view name = argument();
    if (which == "end") return put(TokenKind::Command, "end");
    if (name == "array") argument();  // how its columns are set
    constexpr std::string_view kMatrices[] = {"matrix",  "pmatrix",     "bmatrix",
                                              "Bmatrix", "smallmatrix", "array"};
    const bool known = std::ranges::find(kMatrices, name) != std::end(kMatrices);
    put(TokenKind::Command, known ? "matrix" : name == "vmatrix" ? "determinant" : "environment");
  }

  // A run of letters: names of functions as commands, the rest as it stands.
  void letters() {
    const size_t begin = at_;
    while (is_letter(peek())) ++at_;
    const std::string_view run = text_.substr(begin, at_ - begin);
    if (is_plain_name(run)) return named(run);
    put(TokenKind::Letters, run);
  }

  // A comma and three digits, where the comma separates thousands and not the parts of something.
  bool take_separator() {
    const size_t begin = at_;
    bool taken = take("{,}");
    if (!taken && take(",")) {
      taken = take("\\!") || brackets_ <= 0;
      while (taken && text_[at_ - 1] == '!' && peek() == ' ') ++at_;
    }
    taken = taken || take("\\,");
    if (taken && is_digit(peek()) && is_digit(peek(1)) && is_digit(peek(2)) && !is_digit(peek(3)))
      return true;
    at_ = begin;
    return false;
  }

  void number() {
    std::string digits;
    const auto read = [&] {
      while (is_digit(peek())) digits += text_[at_++];
    };
    read();
    if (!digits.empty() && digits.size() <= 3) {
      while (take_separator()) read();
    }
    if (peek() == '.' && (is_digit(peek(1)) || (!digits.empty() && peek(1) != '.'))) {
      digits += text_[at_++];
      read();
      repeating(digits);
    }
    exponent(digits);
    good_ = good_ && digits.size() <= kMaxDigits;
    put(TokenKind::Number, digits);
  }

  // 0.\overline{3}
  void repeating(std::string& digits) {
    const size_t begin = at_;
    if (!take("\\overline") && !take("\\bar")) return;
    const std::string_view inside = argument();
    if (inside.empty() || !std::ranges::all_of(inside, is_digit)) {
      at_ = begin;
      return;
    }
    digits += "(" + std::string(inside) + ")";
  }

  // As programs print: 1e-05, 2E7. One digit behind a small e is a product with Euler's number.
  void exponent(std::string& digits) {
    if (peek() != 'e' && peek() != 'E') return;
    const size_t sign = peek(1) == '-' || peek(1) == '+' ? 2 : 1;
    size_t count = 0;
    while (is_digit(peek(sign + count))) ++count;
    const bool meant = count > 0 && count <= 4 && (peek() == 'E' || (sign == 2 && count > 1)) &&
                       !is_letter(peek(sign + count));
    if (!meant) return;
    digits += "e" + std::string(text_.substr(at_ + 1, sign - 1 + count));
    at_ += sign + count;
  }

  const std::string_view text_;
  const int depth_;  // of texts inside texts
  size_t at_ = 0;
  int brackets_ = 0;  // open ( [ \{
  bool spaced_ = false;
  bool good_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::optional<std::vector<Token>> tokenize(std::string_view text) {
  if (text.size() > kMaxAnswerBytes) return std::nullopt;
  return Tokenizer(in_ascii(text)).run();
}

std::string spelled(const std::vector<Token>& tokens) {
  std::string out;
  for (const auto& token : tokens) {
    // Marks keep apart what would read as another answer without them.
    if (token.kind == TokenKind::Text) {
      out += "\"" + words_of({token}) + "\"";
    } else {
      const bool named =
          token.kind == TokenKind::Command || (token.kind == TokenKind::Sign && is_letter(token.text[0]));
      out += (named ? "\\" : token.kind == TokenKind::Number ? " " : "") + token.text;
    }
  }
  return out;
}

std::string words_of(const std::vector<Token>& tokens) {
  std::string out;
  bool apart = false;
  for (const auto& token : tokens) {
    apart = true;
    for (const char c : token.text) {
      const bool counts = (is_letter(c) || is_digit(c)) &&
                          (token.kind == TokenKind::Text || token.kind == TokenKind::Letters ||
                           token.kind == TokenKind::Number);
      if (counts) {
        if (apart && !out.empty()) out += ' ';
        out += lower(c);
      }
      apart = !counts;
    }
  }
  return out;
}

}  // namespace sluice::rewards::math
