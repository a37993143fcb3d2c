#include "rewards/math/numerals.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "rewards/internal/ascii.h"

namespace sluice::rewards::math {
namespace {

constexpr int kMaxExponent = 400;

std::optional<Rational> scaled(const std::optional<Rational>& value, int64_t exponent) {
  const auto factor = power(Rational(10), exponent);
  return value && factor ? product(*value, *factor) : std::nullopt;
}

}  // namespace

bool is_whole(std::string_view numeral) {
  return !numeral.empty() && std::ranges::all_of(numeral, internal::is_digit);
}

std::optional<Rational> rational_of(std::string_view numeral) {
  int exponent = 0;
  if (const size_t e = numeral.find('e'); e != std::string_view::npos) {
    std::string_view written = numeral.substr(e + 1);
    if (written.starts_with('+')) written.remove_prefix(1);
    const auto [end, error] = std::from_chars(written.data(), written.data() + written.size(), exponent);
    if (error != std::errc() || std::abs(exponent) > kMaxExponent) return std::nullopt;
    numeral = numeral.substr(0, e);
  }
  const size_t repeats = numeral.find('(');
  std::string repeating;
  if (repeats != std::string_view::npos)
    repeating = numeral.substr(repeats + 1, numeral.size() - repeats - 2);
  std::string digits(numeral.substr(0, repeats));
  int64_t places = 0;
  if (const size_t point = digits.find('.'); point != std::string::npos) {
    places = static_cast<int64_t>(digits.size() - point - 1);
    digits.erase(point, 1);
  }
  auto value = Rational::make(Integer::from_digits(digits), 1);
  if (!repeating.empty()) {
    // 0.1(6) is (16 - 1) / 90
    const auto all = Rational::make(Integer::from_digits(digits + repeating), 1);
    const auto nines = Rational::make(Integer::from_digits(std::string(repeating.size(), '9')), 1);
    if (!value || !all || !nines) return std::nullopt;
    const auto difference = sum(*all, *product(*value, Rational(-1)));
    value = difference ? product(*difference, *inverse(*nines)) : std::nullopt;
  }
  return scaled(value, exponent - places);
}

}  // namespace sluice::rewards::math
