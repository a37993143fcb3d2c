// What an answer says, as a tree.
#pragma once

#include <string>
#include <vector>

#include "rewards/math/rational.h"

namespace sluice::rewards::math {

enum class Kind {
  // What has a value.
  Number,    // `number`
  Constant,  // `name`: pi, e, i, infinity, emptyset
  Variable,  // `name`, subscript included
  Sum,
  Product,
  Negative,
  Inverse,    // a / b is the product of a and the inverse of b
  PlusMinus,  // of one part, in a sum
  MinusPlus,  // the other way round
  Power,      // base, exponent
  Root,       // degree, of what
  Function,   // `name`, of one part; log may have its base as a second
  Factorial,
  Binomial,  // n over k
  Degrees,   // of an angle
  // What holds values.
  Numeral,   // `name` as it is written, in the base that is its part: 52_8
  Quantity,  // one part in the unit `name`
  List,      // in any order: 1, 2 and {1, 2}, and unions
  Tuple,     // `name` is its two brackets: (1, 2), and the interval [1, 2)
  Matrix,    // `name` is "det" or empty; its parts are tuples, the rows
  Relation,  // `name` has a sign between every two parts: = < > l g n (at most, at least, not) i (in)
  Words,     // `name`
};

struct Expression {
  Kind kind = Kind::Words;
  std::string name = {};
  std::vector<Expression> parts = {};
  Rational number = {};

  static Expression whole(int64_t value) { return {.kind = Kind::Number, .number = value}; }
  static Expression constant(std::string name) { return {.kind = Kind::Constant, .name = std::move(name)}; }
  static Expression of(Kind kind, std::vector<Expression> parts, std::string name = {}) {
    return {.kind = kind, .name = std::move(name), .parts = std::move(parts)};
  }
};

}  // namespace sluice::rewards::math
