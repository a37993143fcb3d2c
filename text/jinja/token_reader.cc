#include "text/jinja/token_reader.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

constexpr const char* kDecimal = "0123456789";

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

std::string without_underscores(std::string_view text) {
  std::string out(text);
  out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
  return out;
}

}  // namespace

std::string_view TokenReader::take(size_t size) {
  const std::string_view taken = rest().substr(0, size);
  line_ += static_cast<int>(std::count(taken.begin(), taken.end(), '\n'));
  at_ += taken.size();
  return taken;
}

void TokenReader::skip_white_space() { take(skip_space(rest(), 0)); }

Token TokenReader::next() {
  const char first = source_[at_];
  if (first >= '0' && first <= '9') return number();
  if (is_name(first)) return name();
  if (first == '"' || first == '\'') return string();
  static constexpr std::string_view kSigns[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
  for (const std::string_view sign : kSigns) {
    if (!rest().starts_with(sign)) continue;
    Token token;
    token.kind = Token::Kind::Sign;
    token.line = line_;
    token.text = take(sign.size());
    return token;
  }
  fail_at(line_, "nothing that is known begins with '", rest().substr(0, character_length(source_, at_)),
          "'");
}

Token TokenReader::name() {
  size_t size = 0;
  while (size < rest().size() && is_name(rest()[size])) ++size;
  Token token;
  token.kind = Token::Kind::Name;
  token.line = line_;
  token.text = take(size);
  return token;
}

// Where a run of digits with single underscores between them ends; `from` when there is none.
size_t TokenReader::digits_with_underscores(size_t from, const char* digits) const {
  const auto digit = [&](size_t i) {
    return i < source_.size() && std::string_view(digits).find(source_[i]) != std::string_view::npos;
  };
  size_t end = from;
  while (digit(end) || (end > from && end < source_.size() && source_[end] == '_' && digit(end + 1))) ++end;
  return end;
}

Token TokenReader::number() {
  Token token;
  token.line = line_;
  if (!take_real(token)) take_integer(token);
  return token;
}

// Digits with a fraction, an exponent or both. After a dot it is an index, "a.0.1" is not a fraction.
bool TokenReader::take_real(Token& token) {
  if (at_ > 0 && source_[at_ - 1] == '.') return false;
  const size_t whole = digits_with_underscores(at_, kDecimal);
  size_t end = whole;
  if (end < source_.size() && source_[end] == '.') {
    const size_t fraction = digits_with_underscores(end + 1, kDecimal);
    if (fraction > end + 1) end = fraction;
  }
  if (end < source_.size() && (source_[end] | 0x20) == 'e') {
    size_t digits = end + 1;
    if (digits < source_.size() && (source_[digits] == '+' || source_[digits] == '-')) ++digits;
    const size_t exponent = digits_with_underscores(digits, kDecimal);
    if (exponent > digits) end = exponent;
  }
  if (end == whole) return false;
  token.kind = Token::Kind::Real;
  token.real = std::strtod(without_underscores(take(end - at_)).c_str(), nullptr);
  return true;
}

void TokenReader::take_integer(Token& token) {
  int base = 10;
  size_t begin = at_;
  const char* digits = kDecimal;
  if (source_[at_] == '0') {
    digits = "0";  // of zeros, only more zeros follow
    const char letter = at_ + 1 < source_.size() ? static_cast<char>(source_[at_ + 1] | 0x20) : ' ';
    const int named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    const char* of_base = named == 16 ? "0123456789abcdefABCDEF" : named == 8 ? "01234567" : "01";
    const size_t skipped = at_ + 2 < source_.size() && source_[at_ + 2] == '_' ? 3 : 2;
    if (named != 0 && digits_with_underscores(at_ + skipped, of_base) > at_ + skipped) {
      base = named;
      digits = of_base;
      begin = at_ + skipped;
    }
  }
  const size_t end = digits_with_underscores(begin, digits);
  const std::string text = without_underscores(std::string_view(source_).substr(begin, end - begin));
  const auto [last, error] = std::from_chars(text.data(), text.data() + text.size(), token.integer, base);
  if (error != std::errc()) fail_at(line_, "the integer ", text.substr(0, 40), " is beyond 64 bits");
  token.kind = Token::Kind::Integer;
  take(end - at_);
}

Token TokenReader::string() {
  Token token;
  token.kind = Token::Kind::String;
  token.line = line_;
  const char quote = take(1)[0];
  while (true) {
    if (at_end()) fail_at(token.line, "the text has no closing ", quote);
    const char c = take(1)[0];
    if (c == quote) return token;
    if (c == '\\') {
      escape(token.text);
    } else {
      token.text.push_back(c);
    }
  }
}

void TokenReader::escape(std::string& out) {
  if (at_end()) return;  // string() names the quote that is missing
  static constexpr std::string_view kLetters = "\\'\"abfnrtv";
  static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
  const char c = take(1)[0];
  if (const size_t place = kLetters.find(c); place != std::string_view::npos) {
    out.push_back(kMeanings[place]);
  } else if (c == 'x' || c == 'u' || c == 'U') {
    code_point_escape(out, c == 'x' ? 2 : c == 'u' ? 4 : 8);
  } else if (c >= '0' && c <= '7') {
    char32_t code = static_cast<char32_t>(c - '0');
    for (int i = 0; i < 2 && !at_end() && source_[at_] >= '0' && source_[at_] <= '7'; ++i) {
      code = code * 8 + static_cast<char32_t>(take(1)[0] - '0');
    }
    append_utf8(out, code);
  } else if (c == 'N') {
    fail_at(line_, "\\N in a text is not supported, \\u is");
  } else if (c != '\n') {  // a line end after the backslash joins the lines
    out.push_back('\\');
    out.push_back(c);
  }
}

void TokenReader::code_point_escape(std::string& out, int digits) {
  const std::string text(rest().substr(0, static_cast<size_t>(digits)));
  uint32_t code = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code, 16);
  const bool whole = error == std::errc() && end == text.data() + digits;
  if (!whole) fail_at(line_, "an escape in a text lacks its ", digits, " digits");
  if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
    fail_at(line_, "an escape in a text names no character: ", text);
  }
  take(static_cast<size_t>(digits));
  append_utf8(out, code);
}

}  // namespace sluice::text::jinja
