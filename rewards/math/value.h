// Numbers: exact where they are fractions, and complex with a bound of how far off they are.
#pragma once

#include <complex>
#include <optional>
#include <string_view>

#include "rewards/math/rational.h"

namespace sluice::rewards::math {

struct Value {
  std::optional<Rational> exact;
  std::complex<double> near;
  double error = 0.0;  // the number itself is within this of `near`

  explicit Value(const Rational& rational);
  Value(std::complex<double> close_to, double off) : near(close_to), error(off) {}

  // Where it is a whole number of 63 bits.
  std::optional<int64_t> whole() const { return exact ? exact->whole() : std::nullopt; }
};

// Empty: not defined (1/0, 0^0), or beyond what a double can hold.
using MaybeValue = std::optional<Value>;

MaybeValue sum(const Value& left, const Value& right);
MaybeValue product(const Value& left, const Value& right);
MaybeValue negative(const Value& value);
MaybeValue inverse(const Value& value);
MaybeValue power(const Value& base, const Value& exponent);
// Real where there is a real one, so that the third root of -8 is -2.
MaybeValue root(const Value& degree, const Value& value);
// sin, arctan, exp, ln, abs, floor ...
MaybeValue apply(std::string_view function, const Value& value);
MaybeValue factorial(const Value& value);
MaybeValue binomial(const Value& top, const Value& bottom);

// Whether they are one number. Fractions are compared exactly. Others have to agree to the last bits of a
// double; of what rounding has left less than nine digits of, nothing is said to be equal.
bool same(const Value& left, const Value& right);

}  // namespace sluice::rewards::math
