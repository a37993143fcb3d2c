#include "rewards/math/parser.h"

#include <algorithm>
#include <charconv>

#include "rewards/math/grammar.h"
#include "rewards/math/numerals.h"
#include "rewards/math/units.h"

namespace sluice::rewards::math {
namespace {

constexpr int kMaxDepth = 200;  // rules inside each other, about five for a bracket

// The sign as Relation names it; 0 for none.
char relation_sign(const Token& token) {
  if (token.kind != TokenKind::Sign) return 0;
  if (token.text == "=" || token.text == "<" || token.text == ">") return token.text[0];
  if (token.text == "<=") return 'l';
  if (token.text == ">=") return 'g';
  if (token.text == "!=") return 'n';
  return token.text == "in" ? 'i' : 0;
}

bool joins(const Token& token) {
  const std::string words = words_of({token});
  return (token.kind == TokenKind::Text || token.kind == TokenKind::Letters) &&
         (words == "or" || words == "and");
}

// Letters that are no product of variables: four or more, or one of them twice.
bool is_word(const std::string& letters) {
  for (size_t i = 0; i < letters.size(); ++i) {
    if (letters.find(letters[i], i + 1) != std::string::npos) return true;
  }
  return letters.size() > 3;
}

// Nothing but words, with the signs that stand around words.
bool is_prose(const std::vector<Token>& tokens) {
  bool words = false;
  for (const auto& token : tokens) {
    const bool is_words =
        token.kind == TokenKind::Text || (token.kind == TokenKind::Letters && is_word(token.text));
    const bool may_be = token.kind == TokenKind::Letters || token.kind == TokenKind::End ||
                        (token.kind == TokenKind::Sign &&
                         std::string_view("(){},.'-:;").find(token.text) != std::string_view::npos);
    if (!is_words && !may_be) return false;
    words = words || is_words;
  }
  return words;
}

// Takes "million" off the words behind a number: what it multiplies the number by.
std::optional<int64_t> take_scale(std::string& words) {
  const size_t end = std::min(words.find(' '), words.size());
  const auto scale = scale_of(std::string_view(words).substr(0, end));
  if (scale) words.erase(0, end + 1);
  return scale;
}

Expression list_of(std::vector<Expression> parts) { return Expression::of(Kind::List, std::move(parts)); }

}  // namespace

std::optional<Expression> parse(const std::vector<Token>& tokens, const Reading& reading) {
  if (is_prose(tokens)) return Expression::of(Kind::Words, {}, words_of(tokens));
  return Grammar(tokens, reading).answer();
}

Grammar::Level::Level(Grammar& grammar) : grammar_(grammar) {
  if (++grammar_.depth_ > kMaxDepth) grammar_.fail();
}

Expression Grammar::fail() {
  cursor_.fail();
  return {};
}

std::optional<Expression> Grammar::answer() {
  Expression found = list();
  if (cursor_.failed() || !cursor_.at_end()) return std::nullopt;
  return found;
}

bool Grammar::at_separator() const { return cursor_.at_sign(",") || cursor_.at_sign(";") || at_joint(); }

Expression Grammar::list() {
  const Level level(*this);
  std::vector<Expression> parts{relation()};
  while (at_separator()) {
    const bool comma = cursor_.at_sign(",");
    cursor_.next();
    if (comma && at_joint()) cursor_.next();  // "1, 2, and 3"
    parts.push_back(relation());
  }
  return parts.size() == 1 ? std::move(parts.front()) : list_of(std::move(parts));
}

Expression Grammar::relation() {
  std::vector<Expression> sides{united()};
  std::string signs;
  while (const char sign = relation_sign(cursor_.peek())) {
    cursor_.next();
    signs += sign;
    sides.push_back(united());
  }
  return signs.empty() ? std::move(sides.front()) : Expression::of(Kind::Relation, std::move(sides), signs);
}

Expression Grammar::united() {
  std::vector<Expression> parts{quantity()};
  while (cursor_.take_sign("cup")) parts.push_back(quantity());
  return parts.size() == 1 ? std::move(parts.front()) : list_of(std::move(parts));
}

Expression Grammar::quantity() {
  const bool outer = std::exchange(dollars_, false);
  Expression value = sum();
  const bool dollars = std::exchange(dollars_, outer);
  std::string words = cursor_.take_sign("$") || dollars ? "dollar" : "";
  int64_t power = 1;
  if (cursor_.take_sign("%")) {
    words = "percent";
  } else if (at_unit()) {
    std::string found = unit_words();
    std::vector<Expression> factors{std::move(value)};
    for (auto scale = take_scale(found); scale; scale = take_scale(found)) {
      factors.push_back(Expression::whole(*scale));
    }
    value =
        factors.size() == 1 ? std::move(factors.front()) : Expression::of(Kind::Product, std::move(factors));
    if (!found.empty()) words = std::move(found);
    power = unit_power();
    if (cursor_.at_sign("/") && !words.empty()) {
      cursor_.next();
      words += "/" + unit_words();
      unit_power();
    }
  }
  if (words.empty()) return value;
  return Expression::of(Kind::Quantity, {std::move(value)}, unit_of(words, power).name);
}

bool Grammar::at_joint() const { return joins(cursor_.peek()); }

bool Grammar::at_words() const {
  return (cursor_.at(TokenKind::Text) || cursor_.at(TokenKind::Letters)) && !at_joint();
}

bool Grammar::at_unit() const {
  const Token& token = cursor_.peek();
  if (!at_words() || token.kind == TokenKind::Text) return at_words();
  if (is_word(token.text)) return true;
  const bool short_name = is_unit_symbol(token.text) && (token.text.size() > 1 || reading_.letters_are_units);
  if (!short_name || token.cut) return false;
  // Behind it the answer is over, but for a power: in "5 m + 2" and "3 in x" they are variables.
  const Token& behind = cursor_.peek(1);
  return behind.kind == TokenKind::End ||
         (behind.kind == TokenKind::Sign &&
          std::string_view("^/,;)}]").find(behind.text) != std::string_view::npos);
}

// Fails where they say more than a unit does.
std::string Grammar::unit_words() {
  std::string words;
  while (at_words()) words += (words.empty() ? "" : " ") + words_of({cursor_.next()});
  for (size_t begin = 0; begin <= words.size();) {
    const size_t end = std::min(words.find(' ', begin), words.size());
    const std::string_view word = std::string_view(words).substr(begin, end - begin);
    if (word.empty() || changes_meaning(word) || (begin == 0 && (word == "squared" || word == "cubed")))
      fail();
    begin = end + 1;
  }
  return words;
}

// Of \text{cm}^2 and cm^{2}.
int64_t Grammar::unit_power() {
  if (!cursor_.take_sign("^")) return 1;
  const bool braces = cursor_.take_sign("{");
  const std::string digits = cursor_.next().text;
  if (braces) cursor_.expect_sign("}");
  if (!is_whole(digits) || digits.size() > 1 || digits == "0") fail();
  return cursor_.failed() ? 1 : digits[0] - '0';
}

Expression Grammar::bracketed() {
  const Level level(*this);
  const int outer = std::exchange(bars_, 0);
  const std::string open = cursor_.next().text;
  Expression inside = list();
  const Token close = cursor_.next();
  bars_ = outer;
  if (!close.is(TokenKind::Sign, ")") && !close.is(TokenKind::Sign, "]")) return fail();
  if (inside.kind == Kind::List)
    return Expression::of(Kind::Tuple, std::move(inside.parts), open + close.text);
  const bool pair = (open == "(") == (close.text == ")");
  return pair ? inside : fail();
}

Expression Grammar::set() {
  const Level level(*this);
  const int outer = std::exchange(bars_, 0);
  cursor_.next();
  if (cursor_.take_sign("\\}")) return Expression::constant("emptyset");
  Expression inside = list();
  cursor_.expect_sign("\\}");
  bars_ = outer;
  if (inside.kind == Kind::List) return inside;
  return list_of({std::move(inside)});
}

Expression Grammar::matrix() {
  const Level level(*this);
  const std::string name = cursor_.next().text == "determinant" ? "det" : "";
  std::vector<Expression> rows(1, Expression::of(Kind::Tuple, {}));
  while (!cursor_.at_end() && !cursor_.at_command("end")) {
    rows.back().parts.push_back(relation());
    if (cursor_.take_sign("\\\\")) {
      if (!cursor_.at_command("end")) rows.push_back(Expression::of(Kind::Tuple, {}));
    } else if (!cursor_.take_sign("&") && !cursor_.at_command("end")) {
      return fail();
    }
  }
  if (!cursor_.at_command("end")) return fail();
  cursor_.next();
  return Expression::of(Kind::Matrix, std::move(rows), name);
}

}  // namespace sluice::rewards::math
