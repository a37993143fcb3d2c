#include "rewards/math/rational.h"

#include <gtest/gtest.h>

#include "rewards/math/numerals.h"

namespace sluice::rewards::math {
namespace {

Rational fraction(int64_t top, int64_t bottom) { return *Rational::make(top, bottom); }
Integer digits(const std::string& text) { return Integer::from_digits(text); }

TEST(Rational, AddsAndMultipliesInLowestTerms) {
  EXPECT_EQ(*sum(fraction(1, 6), fraction(1, 3)), fraction(1, 2));
  EXPECT_EQ(*product(fraction(-2, 3), fraction(3, 4)), fraction(-1, 2));
  EXPECT_EQ(*inverse(fraction(-2, 3)), fraction(3, -2));
  EXPECT_EQ(fraction(6, -4).bottom(), Integer(2));
  EXPECT_FALSE(inverse(Rational(0)));
  EXPECT_FALSE(Rational::make(1, 0));
}

TEST(Rational, HasPowersAndRootsThatAreFractions) {
  EXPECT_EQ(*power(fraction(2, 3), -3), fraction(27, 8));
  EXPECT_EQ(*power(Rational(-1), 1'000'000'001), Rational(-1));
  EXPECT_EQ(power(Rational(2), 100)->top(), digits("1267650600228229401496703205376"));
  EXPECT_FALSE(power(Rational(0), 0));
  EXPECT_FALSE(power(Rational(0), -1));
  EXPECT_FALSE(power(Rational(2), 5000));  // 4,096 bits
  EXPECT_EQ(*root(fraction(4, 9), 2), fraction(2, 3));
  EXPECT_EQ(*root(Rational(-8), 3), Rational(-2));
  EXPECT_FALSE(root(Rational(2), 2));
  EXPECT_FALSE(root(Rational(-4), 2));
}

TEST(Rational, ComparesLongNumbersExactly) {
  const auto big = *Rational::make(digits(std::string(300, '7')), 3);
  const auto next = *sum(big, Rational(1));
  EXPECT_FALSE(big == next);
  EXPECT_EQ(*sum(next, Rational(-1)), big);
  EXPECT_EQ(*product(*product(big, fraction(5, 7)), fraction(7, 5)), big);
  EXPECT_DOUBLE_EQ(product(big, *inverse(big))->near(), 1.0);
}

// Borrowing and carrying over limbs, against 128 bits of the compiler.
TEST(Integer, ComputesAsTheMachineDoes) {
  const int64_t values[] = {
      0, 1, -1, 4294967295, 4294967296, -4294967297, 9223372036854775807, -9223372036854775807};
  for (const int64_t a : values) {
    for (const int64_t b : values) {
      const __int128 wanted_sum = static_cast<__int128>(a) + b, wanted_product = static_cast<__int128>(a) * b;
      const auto as_integer = [](__int128 value) {
        const bool negative = value < 0;
        std::string text;
        for (__int128 rest = negative ? -value : value; rest != 0; rest /= 10)
          text.insert(text.begin(), static_cast<char>('0' + static_cast<int>(rest % 10)));
        return negative ? -Integer::from_digits(text) : Integer::from_digits(text);
      };
      EXPECT_EQ(Integer(a) + Integer(b), as_integer(wanted_sum)) << a << " + " << b;
      EXPECT_EQ(Integer(a) * Integer(b), as_integer(wanted_product)) << a << " * " << b;
    }
  }
}

TEST(Numerals, AreReadAsFractions) {
  EXPECT_EQ(*rational_of("0.25"), fraction(1, 4));
  EXPECT_EQ(*rational_of(".5"), fraction(1, 2));
  EXPECT_EQ(*rational_of("3."), Rational(3));
  EXPECT_EQ(*rational_of("0.1(6)"), fraction(1, 6));
  EXPECT_EQ(*rational_of("0.(9)"), Rational(1));
  EXPECT_EQ(*rational_of("12e-03"), fraction(12, 1000));
  EXPECT_FALSE(rational_of("1e99999"));
}

}  // namespace
}  // namespace sluice::rewards::math
