#include <algorithm>

#include "rewards/math/commands.h"
#include "rewards/math/grammar.h"
#include "rewards/math/numerals.h"

namespace sluice::rewards::math {
namespace {

constexpr int kMaxMarks = 8;  // behind a value, each of which makes the tree deeper: !, degrees, powers

constexpr std::string_view kGreek[] = {
    "alpha", "beta",     "gamma", "delta",  "epsilon", "varepsilon", "zeta",  "eta",
    "theta", "vartheta", "kappa", "lambda", "mu",      "nu",         "xi",    "rho",
    "sigma", "tau",      "phi",   "varphi", "chi",     "psi",        "omega", "ell",
    "Delta", "Gamma",    "Omega", "Sigma",  "Phi",     "Lambda",     "Theta"};
constexpr std::string_view kTakeArguments[] = {"frac",     "sqrt",     "binom",       "lfloor",
                                               "lceil",    "matrix",   "determinant", "pi",
                                               "infinity", "emptyset", "reals"};

template <class Range>
bool holds(const Range& names, std::string_view name) {
  return std::ranges::find(names, name) != std::end(names);
}

Expression negative(Expression part) { return Expression::of(Kind::Negative, {std::move(part)}); }

Expression quotient(Expression top, Expression bottom) {
  return Expression::of(Kind::Product, {std::move(top), Expression::of(Kind::Inverse, {std::move(bottom)})});
}

Expression number_of(const Rational& value) { return {.kind = Kind::Number, .number = value}; }

}  // namespace

Expression Grammar::sum() {
  const Level level(*this);
  std::vector<Expression> parts;
  while (!cursor_.failed()) {
    if (cursor_.take_sign("-")) {
      parts.push_back(negative(product()));
    } else if (cursor_.take_sign("+-")) {
      parts.push_back(Expression::of(Kind::PlusMinus, {product()}));
    } else if (cursor_.take_sign("-+")) {
      parts.push_back(Expression::of(Kind::MinusPlus, {product()}));
    } else if (cursor_.take_sign("+") || parts.empty()) {
      parts.push_back(product());
    } else {
      break;
    }
  }
  if (parts.size() == 1) return std::move(parts.front());
  return Expression::of(Kind::Sum, std::move(parts));
}

Expression Grammar::product() {
  std::vector<Expression> parts{signed_power()};
  while (!cursor_.failed()) {
    if (cursor_.take_sign("*")) {
      parts.push_back(signed_power());
    } else if (cursor_.take_sign("/")) {
      parts.push_back(Expression::of(Kind::Inverse, {signed_power()}));
    } else if (starts_factor()) {
      parts.push_back(power());
    } else {
      break;
    }
  }
  if (parts.size() == 1) return std::move(parts.front());
  return Expression::of(Kind::Product, std::move(parts));
}

// Whether what comes next is multiplied by what was there, without a sign: 2x, 3(a + b), \pi r. Of two
// numbers side by side nobody knows what is meant.
bool Grammar::starts_factor() const {
  const Token& token = cursor_.peek();
  switch (token.kind) {
    case TokenKind::Number:
      return cursor_.before().kind != TokenKind::Number;
    case TokenKind::Letters:
      return !at_unit() && !at_joint();
    case TokenKind::Command:
      return holds(kTakeArguments, token.text) || holds(kGreek, token.text) || is_function(token.text);
    case TokenKind::Sign:
      return token.text == "(" || token.text == "[" || token.text == "{" || token.text == "\\{" ||
             (token.text == "|" && bars_ == 0);
    default:
      return false;
  }
}

Expression Grammar::signed_power() {
  const Level level(*this);
  if (cursor_.take_sign("-")) return negative(signed_power());
  if (cursor_.take_sign("+")) return signed_power();
  return power();
}

Expression Grammar::power() {
  Expression base = atom();
  for (int marks = 0; !cursor_.failed(); ++marks) {
    if (marks > kMaxMarks) return fail();
    if (cursor_.take_sign("!")) {
      base = Expression::of(Kind::Factorial, {std::move(base)});
    } else if (cursor_.take_sign("deg")) {
      base = Expression::of(Kind::Degrees, {std::move(base)});
    } else if (cursor_.at_sign("^") && cursor_.peek(1).is(TokenKind::Sign, "deg")) {
      cursor_.next();
    } else if (cursor_.at_sign("^") && cursor_.peek(1).is(TokenKind::Sign, "{") &&
               cursor_.peek(2).is(TokenKind::Sign, "deg")) {
      for (int i = 0; i < 3; ++i) cursor_.next();
      cursor_.expect_sign("}");
      base = Expression::of(Kind::Degrees, {std::move(base)});
    } else if (cursor_.take_sign("^")) {
      base = Expression::of(Kind::Power, {std::move(base), exponent()});
    } else {
      break;
    }
  }
  return base;
}

// Of 2^{10} and, in plain text, 2^10 and x^-1.
Expression Grammar::exponent() {
  const Level level(*this);
  if (cursor_.at_sign("{")) return group();
  if (cursor_.take_sign("-")) return negative(exponent());
  Expression base = atom();
  if (cursor_.take_sign("^")) return Expression::of(Kind::Power, {std::move(base), exponent()});
  return base;
}

Expression Grammar::atom() {
  const Level level(*this);
  if (cursor_.failed()) return {};
  while (cursor_.take_sign("$")) dollars_ = true;
  const Token& token = cursor_.peek();
  if (token.kind == TokenKind::Number) return number();
  if (token.kind == TokenKind::Letters) return letter();
  if (token.kind == TokenKind::Command) return command();
  if (token.kind == TokenKind::Text) return Expression::of(Kind::Words, {}, words_of({cursor_.next()}));
  if (token.text == "(" || token.text == "[") return bracketed();
  if (token.text == "\\{") return set();
  if (token.text == "{") return group();
  if (token.text == "|") return absolute();
  return fail();
}

Expression Grammar::number() {
  const Token token = cursor_.next();
  const auto value = rational_of(token.text);
  if (!value) return fail();
  if (is_whole(token.text)) {
    if (cursor_.take_sign("_")) {
      const std::string base = subscript();
      if (!is_whole(base) || base.size() > 2) return fail();
      return Expression::of(Kind::Numeral, {number_of(*rational_of(base))}, token.text);
    }
    return with_fraction(number_of(*value));
  }
  return number_of(*value);
}

Expression Grammar::plain_number() {
  const auto value = rational_of(cursor_.next().text);
  return value ? number_of(*value) : fail();
}

// 1\frac{4}{5} and "1 4/5" are 1 + 4/5; the number alone where no fraction of whole numbers is behind it.
Expression Grammar::with_fraction(Expression whole) {
  Expression top, bottom;
  if (cursor_.at_command("frac") && is_numeric_fraction()) {
    cursor_.next();
    top = argument();
    bottom = argument();
  } else if (cursor_.at(TokenKind::Number) && cursor_.peek().spaced && is_whole(cursor_.peek().text) &&
             cursor_.peek(1).is(TokenKind::Sign, "/") && is_whole(cursor_.peek(2).text)) {
    top = plain_number();
    cursor_.next();
    bottom = plain_number();
  } else {
    return whole;
  }
  return Expression::of(Kind::Sum, {std::move(whole), quotient(std::move(top), std::move(bottom))});
}

// \frac{4}{5}, \frac45, \frac{14}5: looked at and not taken, or numbers before fractions in fractions would
// be read again and again.
bool Grammar::is_numeric_fraction() const {
  size_t ahead = 1;
  for (int argument = 0; argument < 2; ++argument) {
    const Token& token = cursor_.peek(ahead);
    if (token.is(TokenKind::Sign, "{") && is_whole(cursor_.peek(ahead + 1).text) &&
        cursor_.peek(ahead + 2).is(TokenKind::Sign, "}")) {
      ahead += 3;
    } else if (is_whole(token.text)) {
      if (token.text.size() > 1) return argument == 0;
      ++ahead;
    } else {
      return false;
    }
  }
  return true;
}

Expression Grammar::letter() {
  std::string name(1, cursor_.next_character());
  if (cursor_.take_sign("_")) name += "_" + subscript();
  if (name == "e" || name == "i") return Expression::constant(name);
  return Expression::of(Kind::Variable, {}, name);
}

std::string Grammar::subscript() {
  if (!cursor_.take_sign("{")) {
    if (cursor_.at(TokenKind::Letters)) return std::string(1, cursor_.next_character());
    if (!cursor_.at(TokenKind::Number)) fail();
    return cursor_.next().text;
  }
  std::string text;
  while (cursor_.at(TokenKind::Number) || cursor_.at(TokenKind::Letters) || cursor_.at(TokenKind::Text)) {
    text += cursor_.next().text;
  }
  cursor_.expect_sign("}");
  if (text.empty()) fail();
  return text;
}

Expression Grammar::command() {
  const std::string name = cursor_.peek().text;
  if (name == "matrix" || name == "determinant") return matrix();
  cursor_.next();
  if (name == "frac") return fraction();
  if (name == "sqrt") return root();
  if (name == "binom") return binomial();
  if (name == "lfloor") return rounded("floor", "rfloor");
  if (name == "lceil") return rounded("ceil", "rceil");
  if (name == "pi" || name == "infinity" || name == "emptyset" || name == "reals")
    return Expression::constant(name);
  if (is_function(name)) return function(name);
  if (!holds(kGreek, name)) return fail();
  return Expression::of(Kind::Variable, {}, cursor_.take_sign("_") ? name + "_" + subscript() : name);
}

Expression Grammar::fraction() {
  const Level level(*this);
  Expression top = argument();
  return quotient(std::move(top), argument());
}

Expression Grammar::binomial() {
  const Level level(*this);
  Expression top = argument();
  return Expression::of(Kind::Binomial, {std::move(top), argument()});
}

Expression Grammar::root() {
  const Level level(*this);
  Expression degree = Expression::whole(2);
  if (cursor_.take_sign("[")) {
    degree = sum();
    cursor_.expect_sign("]");
  }
  // Nobody means the root of 1, times 3, by \sqrt13.
  Expression inside = cursor_.at(TokenKind::Number) ? plain_number() : argument();
  return Expression::of(Kind::Root, {std::move(degree), std::move(inside)});
}

Expression Grammar::argument() {
  const Level level(*this);
  if (cursor_.at_sign("{")) return group();
  if (cursor_.at(TokenKind::Number) && is_whole(cursor_.peek().text)) {
    return Expression::whole(cursor_.next_character() - '0');
  }
  if (cursor_.at(TokenKind::Letters)) {
    const std::string name(1, cursor_.next_character());
    return name == "e" || name == "i" ? Expression::constant(name) : Expression::of(Kind::Variable, {}, name);
  }
  return atom();
}

Expression Grammar::group() {
  const Level level(*this);
  const int outer = std::exchange(bars_, 0);
  cursor_.expect_sign("{");
  Expression inside = list();
  cursor_.expect_sign("}");
  bars_ = outer;
  return inside;
}

Expression Grammar::function(const std::string& name) {
  const Level level(*this);
  Expression raised, base;
  bool has_power = false, has_base = false, inverted = false;
  if (cursor_.take_sign("^")) {
    raised = exponent();
    has_power = true;
    inverted = raised.kind == Kind::Negative && raised.parts[0].kind == Kind::Number &&
               raised.parts[0].number == Rational(1);
  }
  if (name == "log" && cursor_.take_sign("_")) {
    base = cursor_.at(TokenKind::Number) ? plain_number() : argument();
    has_base = true;
  }
  std::vector<Expression> parts{function_argument()};
  if (has_base) parts.push_back(std::move(base));
  Expression value = Expression::of(Kind::Function, std::move(parts), inverted ? "arc" + name : name);
  if (!has_power || inverted) return value;
  return Expression::of(Kind::Power, {std::move(value), std::move(raised)});
}

// \sin(x), and all of 2x in \sin 2x; not the \cos x of \sin x \cos x.
Expression Grammar::function_argument() {
  const Level level(*this);
  if (cursor_.at_sign("(") || cursor_.at_sign("[")) return bracketed();
  if (cursor_.at_sign("{")) return group();
  if (cursor_.take_sign("-")) return negative(function_argument());
  std::vector<Expression> parts{power()};
  while (!cursor_.failed() && starts_factor() && !is_function(cursor_.peek().text)) parts.push_back(power());
  return parts.size() == 1 ? std::move(parts.front()) : Expression::of(Kind::Product, std::move(parts));
}

Expression Grammar::absolute() {
  const Level level(*this);
  cursor_.next();
  ++bars_;
  Expression inside = sum();
  --bars_;
  cursor_.expect_sign("|");
  return Expression::of(Kind::Function, {std::move(inside)}, "abs");
}

Expression Grammar::rounded(const std::string& name, const std::string& closing) {
  const Level level(*this);
  Expression inside = sum();
  if (!cursor_.at_command(closing)) return fail();
  cursor_.next();
  return Expression::of(Kind::Function, {std::move(inside)}, name);
}

}  // namespace sluice::rewards::math
