#include "rewards/math/value.h"

#include <gtest/gtest.h>

#include <numbers>

namespace sluice::rewards::math {
namespace {

const Value kOne(Rational(1)), kTwo(Rational(2));
Value near(double value) { return {value, 0x1p-52 * value}; }

TEST(Value, IsExactWhereItIsAFraction) {
  EXPECT_TRUE(power(kTwo, Value(Rational(-3)))->exact);
  EXPECT_EQ(*root(kTwo, Value(*Rational::make(9, 4)))->exact, *Rational::make(3, 2));
  EXPECT_FALSE(root(kTwo, kTwo)->exact);
  EXPECT_EQ(*binomial(Value(Rational(10)), Value(Rational(3)))->exact, Rational(120));
  EXPECT_EQ(*factorial(Value(Rational(5)))->exact, Rational(120));
}

TEST(Value, KnowsHowFarOffItIs) {
  const auto root_of_two = *root(kTwo, kTwo);
  EXPECT_TRUE(same(*product(root_of_two, root_of_two), kTwo));
  EXPECT_FALSE(same(root_of_two, near(1.4142135623)));
  EXPECT_TRUE(same(*apply("sin", near(std::numbers::pi)), Value(Rational(0))));
  EXPECT_TRUE(same(*apply("cos", *product(near(std::numbers::pi), Value(*Rational::make(1, 3)))),
                   Value(*Rational::make(1, 2))));
}

// Whatever is left of 10^30 pi - 10^30 pi is no number that could be right.
TEST(Value, IsTheSameAsNothingOnceItsDigitsAreGone) {
  const auto big = *product(near(std::numbers::pi), Value(*power(Rational(10), 30)));
  const auto rest = *sum(big, *negative(big));
  EXPECT_FALSE(same(rest, Value(Rational(0))));
  EXPECT_FALSE(same(rest, kOne));
  EXPECT_FALSE(same(*apply("sin", big), *apply("sin", big)));
}

TEST(Value, IsNotThereWhereNothingIsDefined) {
  const Value zero(Rational(0));
  EXPECT_FALSE(inverse(zero));
  EXPECT_FALSE(power(zero, zero));
  EXPECT_FALSE(power(zero, Value(Rational(-1))));
  EXPECT_FALSE(apply("ln", zero));
  EXPECT_FALSE(factorial(Value(Rational(-1))));
  EXPECT_FALSE(power(near(1e200), kTwo));
  EXPECT_FALSE(product(near(1e-200), near(1e-200)));
}

TEST(Value, TakesTheRealRoot) {
  EXPECT_EQ(*root(Value(Rational(3)), Value(Rational(-8)))->exact, Rational(-2));
  EXPECT_TRUE(same(*power(Value(Rational(-8)), Value(*Rational::make(1, 3))), Value(Rational(-2))));
  EXPECT_TRUE(same(*root(kTwo, Value(Rational(-1))), Value({0.0, 1.0}, 0.0)));
}

}  // namespace
}  // namespace sluice::rewards::math
