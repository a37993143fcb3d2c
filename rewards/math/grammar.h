// The grammar of answers, a function for each rule: parser.cc has what holds values, terms.cc the values.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "rewards/math/expression.h"
#include "rewards/math/parser.h"
#include "rewards/math/token_cursor.h"

namespace sluice::rewards::math {

class Grammar {
 public:
  Grammar(std::vector<Token> tokens, const Reading& reading)
      : cursor_(std::move(tokens)), reading_(reading) {}

  // answer: list, and nothing behind it
  std::optional<Expression> answer();

 private:
  // list: relation ("," | ";" | "or" | "and") relation ...
  Expression list();
  // relation: united (("=" | "<" | ...) united) ...
  Expression relation();
  // united: quantity ("cup" quantity) ...
  Expression united();
  // quantity: sum unit?
  Expression quantity();
  // ( list ), [ list ), { list }, \{ list \}: a value, a tuple or a set
  Expression bracketed();
  Expression set();
  Expression matrix();
  bool at_separator() const;
  bool at_joint() const;  // "or", "and"
  bool at_words() const;
  bool at_unit() const;
  std::string unit_words();
  int64_t unit_power();

  Expression sum();
  // product: power (("*" | "/")? power) ...
  Expression product();
  Expression signed_power();
  // power: atom ("!" | "deg" | "^" exponent) ...
  Expression power();
  Expression exponent();
  Expression atom();
  Expression number();
  Expression plain_number();  // with no fraction or base behind it
  Expression with_fraction(Expression whole);
  bool is_numeric_fraction() const;
  Expression letter();
  Expression command();
  Expression fraction();
  Expression root();
  Expression binomial();
  Expression function(const std::string& name);
  Expression function_argument();
  Expression absolute();
  Expression rounded(const std::string& name, const std::string& closing);
  // What a command takes as argument: a group in braces, or the next character alone.
  Expression argument();
  Expression group();
  std::string subscript();
  bool starts_factor() const;
  Expression fail();

  // Counts how deep the rules are inside each other.
  class Level {
   public:
    explicit Level(Grammar& grammar);
    ~Level() { --grammar_.depth_; }

   private:
    Grammar& grammar_;
  };

  TokenCursor cursor_;
  const Reading reading_;
  int depth_ = 0;
  int bars_ = 0;          // open |
  bool dollars_ = false;  // a \$ before the number
};

}  // namespace sluice::rewards::math
