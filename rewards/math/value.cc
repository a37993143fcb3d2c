#include "rewards/math/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sluice::rewards::math {
namespace {

using Complex = std::complex<double>;

constexpr double kRounding = 0x1p-51;  // of one operation, relative: two units in the last place
constexpr double kFewest = 1e-9;       // digits that have to be left, relative
constexpr double kTiny = 1e-290;       // below it a double has fewer digits
constexpr double kZero = 1e-12;        // how well 0 has to be known
constexpr int64_t kMaxFactorial = 400;

MaybeValue checked(Complex near, double error) {
  const bool fits = std::isfinite(near.real()) && std::isfinite(near.imag()) && std::isfinite(error);
  if (!fits || (near != 0.0 && std::abs(near) < kTiny)) return std::nullopt;
  return Value(near, error + kRounding * std::abs(near));
}

MaybeValue maybe(const std::optional<Rational>& exact) {
  return exact ? MaybeValue(Value(*exact)) : std::nullopt;
}

bool is_real(const Value& value) { return std::abs(value.near.imag()) <= value.error; }

struct Named {
  std::string_view name;
  Complex (*of)(const Complex&);
};

Complex inverted(const Complex& x) { return 1.0 / x; }

constexpr Named kNamed[] = {
    {"sin", [](const Complex& x) { return std::sin(x); }},
    {"cos", [](const Complex& x) { return std::cos(x); }},
    {"tan", [](const Complex& x) { return std::tan(x); }},
    {"cot", [](const Complex& x) { return std::cos(x) / std::sin(x); }},
    {"sec", [](const Complex& x) { return inverted(std::cos(x)); }},
    {"csc", [](const Complex& x) { return inverted(std::sin(x)); }},
    {"arcsin", [](const Complex& x) { return std::asin(x); }},
    {"arccos", [](const Complex& x) { return std::acos(x); }},
    {"arctan", [](const Complex& x) { return std::atan(x); }},
    {"arccot", [](const Complex& x) { return std::atan(inverted(x)); }},
    {"arcsec", [](const Complex& x) { return std::acos(inverted(x)); }},
    {"arccsc", [](const Complex& x) { return std::asin(inverted(x)); }},
    {"sinh", [](const Complex& x) { return std::sinh(x); }},
    {"cosh", [](const Complex& x) { return std::cosh(x); }},
    {"tanh", [](const Complex& x) { return std::tanh(x); }},
    {"arcsinh", [](const Complex& x) { return std::asinh(x); }},
    {"arccosh", [](const Complex& x) { return std::acosh(x); }},
    {"arctanh", [](const Complex& x) { return std::atanh(x); }},
    {"exp", [](const Complex& x) { return std::exp(x); }},
    {"ln", [](const Complex& x) { return std::log(x); }},
};

// The error is carried through by how much the function changes beside x.
MaybeValue apply_near(const Named& function, const Value& value) {
  const Complex x = value.near, y = function.of(x);
  const double step = std::max(value.error, 1e-8 * (1.0 + std::abs(x)));
  const double slope =
      std::max(std::abs(function.of(x + step) - y), std::abs(function.of(x - step) - y)) / step;
  return checked(y, 2.0 * slope * value.error + 2.0 * kRounding * std::abs(y));
}

MaybeValue absolute(const Value& value) {
  if (value.exact) return value.exact->is_negative() ? negative(value) : value;
  return checked(std::abs(value.near), value.error);
}

// Of what may be on either side of a whole number, nothing is known.
MaybeValue rounded(const Value& value, double (*round)(double)) {
  if (!is_real(value) || std::abs(value.near) > 1e15) return std::nullopt;
  if (value.whole()) return value;
  const double x = value.near.real(), low = round(x - value.error), high = round(x + value.error);
  if (low != high) return std::nullopt;
  return Value(Rational(static_cast<int64_t>(low)));
}

MaybeValue gamma_behind(const Value& value) {  // (value)!
  if (!is_real(value) || std::abs(value.near) > 160.0) return std::nullopt;
  const double x = value.near.real() + 1.0, y = std::tgamma(x);
  const double slope = std::abs(std::tgamma(x + 1e-6) - y) / 1e-6;
  return checked(y, 2.0 * slope * value.error + 16.0 * kRounding * std::abs(y));
}

// The exponent as a fraction of small numbers.
struct Small {
  int64_t top, bottom;
};
std::optional<Small> small(const Value& value) {
  if (!value.exact) return std::nullopt;
  const auto top = value.exact->top().small(), bottom = value.exact->bottom().small();
  if (!top || !bottom) return std::nullopt;
  return Small{*top, *bottom};
}

}  // namespace

Value::Value(const Rational& rational) : exact(rational), near(rational.near()) {
  error = kRounding * std::abs(near);
}

MaybeValue sum(const Value& left, const Value& right) {
  if (left.exact && right.exact) {
    if (const auto exact = sum(*left.exact, *right.exact)) return Value(*exact);
  }
  return checked(left.near + right.near, left.error + right.error);
}

MaybeValue product(const Value& left, const Value& right) {
  if (left.exact && right.exact) {
    if (const auto exact = product(*left.exact, *right.exact)) return Value(*exact);
  }
  if ((left.exact && left.exact->is_zero()) || (right.exact && right.exact->is_zero()))
    return Value(Rational(0));
  const double a = std::abs(left.near), b = std::abs(right.near);
  const Complex near = left.near * right.near;
  if (near == 0.0 && a > 0.0 && b > 0.0) return std::nullopt;
  return checked(near, a * right.error + b * left.error + left.error * right.error);
}

MaybeValue negative(const Value& value) { return product(value, Value(Rational(-1))); }

MaybeValue inverse(const Value& value) {
  if (value.exact) {
    if (const auto exact = inverse(*value.exact)) return Value(*exact);
    if (value.exact->is_zero()) return std::nullopt;
  }
  const double size = std::abs(value.near);
  if (size <= 2.0 * value.error) return std::nullopt;
  return checked(1.0 / value.near, 2.0 * value.error / (size * size));
}

MaybeValue power(const Value& base, const Value& exponent) {
  const auto fraction = small(exponent);
  if (fraction && fraction->bottom == 1) {
    if (base.exact) {
      if (const auto exact = power(*base.exact, fraction->top)) return Value(*exact);
      if (base.exact->is_zero()) return std::nullopt;
    }
    if (fraction->top == 0) return std::nullopt;
  } else if (fraction && base.exact && fraction->bottom <= 62) {
    // 8^{2/3}, and (-8)^{1/3} as schools have it
    const auto base_root = root(Value(Rational(fraction->bottom)), base);
    return base_root ? power(*base_root, Value(Rational(fraction->top))) : std::nullopt;
  }
  const double size = std::abs(base.near);
  if (size <= 2.0 * base.error) return std::nullopt;
  const Complex log_base = std::log(base.near), log_power = exponent.near * log_base;
  const double log_error = std::abs(exponent.near) * 2.0 * base.error / size +
                           std::abs(log_base) * exponent.error +
                           2.0 * kRounding * (1.0 + std::abs(log_power));
  const Complex near = std::exp(log_power);
  if (log_error > 0.1 || near == 0.0) return std::nullopt;
  return checked(near, 2.0 * log_error * std::abs(near));
}

MaybeValue root(const Value& degree, const Value& value) {
  const auto n = degree.whole();
  if (!n || *n < 2 || *n > 62) {
    const auto exponent = inverse(degree);
    return exponent && !(n && *n <= 1) ? power(value, *exponent) : std::nullopt;
  }
  if (value.exact) {
    if (const auto exact = root(*value.exact, *n)) return Value(*exact);
  }
  const double size = std::abs(value.near), power = 1.0 / static_cast<double>(*n);
  const bool odd_of_negative = *n % 2 == 1 && is_real(value) && value.near.real() < 0.0;
  const Complex near = odd_of_negative ? Complex(-std::pow(size, power))
                       : *n == 2       ? std::sqrt(value.near)
                                       : std::pow(value.near, power);
  // Close to 0 a root is steep.
  const double error = size > 2.0 * value.error ? std::abs(near) * 2.0 * power * value.error / size
                                                : std::pow(4.0 * value.error, power);
  return checked(near, error + 2.0 * kRounding * std::abs(near));
}

MaybeValue apply(std::string_view function, const Value& value) {
  if (function == "abs") return absolute(value);
  if (function == "floor") return rounded(value, std::floor);
  if (function == "ceil") return rounded(value, std::ceil);
  const auto found = std::ranges::find(kNamed, function, &Named::name);
  return found == std::end(kNamed) ? std::nullopt : apply_near(*found, value);
}

MaybeValue factorial(const Value& value) {
  const auto n = value.whole();
  if (!n) return gamma_behind(value);
  if (*n < 0 || *n > kMaxFactorial) return std::nullopt;
  std::optional<Rational> result = Rational(1);
  for (int64_t i = 2; i <= *n && result; ++i) result = product(*result, Rational(i));
  return maybe(result);
}

MaybeValue binomial(const Value& top, const Value& bottom) {
  const auto n = top.whole(), k = bottom.whole();
  if (n && k) {
    if (*n < 0 || *k < 0 || *n > kMaxFactorial) return std::nullopt;
    if (*k > *n) return Value(Rational(0));
    std::optional<Rational> result = Rational(1);
    for (int64_t i = 1; i <= std::min(*k, *n - *k) && result; ++i) {
      result = product(*result, *Rational::make(*n + 1 - i, i));
    }
    return maybe(result);
  }
  const auto rest = negative(bottom);
  const auto left = rest ? sum(top, *rest) : std::nullopt;
  const auto all = factorial(top), below = factorial(bottom), others = left ? factorial(*left) : std::nullopt;
  if (!all || !below || !others) return std::nullopt;
  const auto divisor = product(*below, *others);
  const auto inverted = divisor ? inverse(*divisor) : std::nullopt;
  return inverted ? product(*all, *inverted) : std::nullopt;
}

bool same(const Value& left, const Value& right) {
  if (left.exact && right.exact) return *left.exact == *right.exact;
  const double size = std::max(std::abs(left.near), std::abs(right.near));
  const double error = left.error + right.error;
  if (!std::isfinite(size) || std::abs(left.near - right.near) > 2.0 * error) return false;
  return error <= kFewest * size || (size <= 2.0 * error && error <= kZero);
}

}  // namespace sluice::rewards::math
