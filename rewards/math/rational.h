// Fractions, exact or not at all.
#pragma once

#include <cstdint>
#include <optional>

#include "rewards/math/integer.h"

namespace sluice::rewards::math {

// In lowest terms where both numbers have 63 bits; else as the computation left it, so that comparing is by
// multiplying crosswise and no common divisor of long numbers is ever looked for.
class Rational {
 public:
  static constexpr int64_t kMaxLimbs = 128;  // of 32 bits, of each number

  Rational(int64_t whole = 0) : top_(whole) {}  // NOLINT: 2 is a fraction like any other
  // Empty where `bottom` is 0 or either is too long.
  static std::optional<Rational> make(Integer top, Integer bottom);

  const Integer& top() const { return top_; }
  const Integer& bottom() const { return bottom_; }  // above 0
  bool is_zero() const { return top_.is_zero(); }
  bool is_negative() const { return top_.is_negative(); }
  std::optional<int64_t> whole() const;  // where it is one of 63 bits
  double near() const;                   // infinite where a double is too small for it
  // What an operation on it costs, in steps.
  int64_t num_limbs() const { return 1 + top_.num_limbs() + bottom_.num_limbs(); }

  bool operator==(const Rational& other) const;

 private:
  Integer top_, bottom_ = 1;
};

// Empty where it does not fit, and for what is not defined: the inverse of 0, 0 to the 0.
std::optional<Rational> sum(const Rational& left, const Rational& right);
std::optional<Rational> product(const Rational& left, const Rational& right);
std::optional<Rational> inverse(const Rational& value);
std::optional<Rational> power(const Rational& base, int64_t exponent);
// The real root of that degree where it is a fraction; of what has more than 63 bits none is looked for.
std::optional<Rational> root(const Rational& value, int64_t degree);

}  // namespace sluice::rewards::math
