#include "rewards/math/rational.h"

#include <cmath>
#include <cstdlib>
#include <numeric>
#include <utility>

namespace sluice::rewards::math {
namespace {

// The whole number whose power `number` is.
std::optional<int64_t> whole_root(int64_t number, int64_t degree) {
  const auto guess = std::llround(std::pow(static_cast<double>(number), 1.0 / static_cast<double>(degree)));
  int64_t power = 1;
  for (int64_t i = 0; i < degree; ++i) {
    if (__builtin_mul_overflow(power, guess, &power)) return std::nullopt;
  }
  return power == number ? std::optional<int64_t>(guess) : std::nullopt;
}

}  // namespace

std::optional<Rational> Rational::make(Integer top, Integer bottom) {
  if (bottom.is_zero() || top.num_limbs() > kMaxLimbs || bottom.num_limbs() > kMaxLimbs) return std::nullopt;
  Rational out;
  const auto small_top = top.small(), small_bottom = bottom.small();
  if (small_top && small_bottom) {
    const int64_t common = std::gcd(*small_top, *small_bottom) * (*small_bottom < 0 ? -1 : 1);
    out.top_ = *small_top / common;
    out.bottom_ = *small_bottom / common;
  } else if (top.is_zero()) {
    out.top_ = 0;
  } else {
    out.top_ = bottom.is_negative() ? -top : std::move(top);
    out.bottom_ = bottom.is_negative() ? -bottom : std::move(bottom);
  }
  return out;
}

std::optional<int64_t> Rational::whole() const { return bottom_ == Integer(1) ? top_.small() : std::nullopt; }

double Rational::near() const {
  const auto top = top_.scaled(), bottom = bottom_.scaled();
  return std::ldexp(top.mantissa / bottom.mantissa, static_cast<int>(top.exponent - bottom.exponent));
}

bool Rational::operator==(const Rational& other) const {
  return top_ * other.bottom_ == other.top_ * bottom_;
}

std::optional<Rational> sum(const Rational& left, const Rational& right) {
  if (left.bottom() == right.bottom()) return Rational::make(left.top() + right.top(), left.bottom());
  return Rational::make(left.top() * right.bottom() + right.top() * left.bottom(),
                        left.bottom() * right.bottom());
}

std::optional<Rational> product(const Rational& left, const Rational& right) {
  return Rational::make(left.top() * right.top(), left.bottom() * right.bottom());
}

std::optional<Rational> inverse(const Rational& value) { return Rational::make(value.bottom(), value.top()); }

std::optional<Rational> power(const Rational& base, int64_t exponent) {
  if (exponent == 0) return base.is_zero() ? std::nullopt : std::optional<Rational>(1);
  const auto start = exponent < 0 ? inverse(base) : std::optional<Rational>(base);
  if (!start) return std::nullopt;
  // 0, 1 and -1 have every power; those of any other number double their length with each bit of the
  // exponent.
  if (const auto whole = base.whole(); whole && std::abs(*whole) <= 1)
    return exponent % 2 == 0 ? product(base, base) : base;
  std::optional<Rational> result = Rational(1), square = start;
  for (uint64_t rest = exponent < 0 ? -static_cast<uint64_t>(exponent) : static_cast<uint64_t>(exponent);;) {
    if (rest % 2 == 1) result = product(*result, *square);
    rest /= 2;
    if (!result || rest == 0) return result;
    square = product(*square, *square);
    if (!square) return std::nullopt;
  }
}

std::optional<Rational> root(const Rational& value, int64_t degree) {
  const auto top = value.top().small(), bottom = value.bottom().small();
  if (!top || !bottom || degree < 1 || degree > 62 || (*top < 0 && degree % 2 == 0)) return std::nullopt;
  const auto root_top = whole_root(std::abs(*top), degree), root_bottom = whole_root(*bottom, degree);
  if (!root_top || !root_bottom) return std::nullopt;
  return Rational::make(*top < 0 ? -*root_top : *root_top, *root_bottom);
}

}  // namespace sluice::rewards::math
