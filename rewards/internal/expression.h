// Arithmetic over whole numbers, read and computed exactly. The text is the policy's: hostile.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace sluice::rewards::internal {

// In lowest terms; bottom > 0, both of at most 18 digits.
struct Fraction {
  int64_t top = 0, bottom = 1;
};

struct Expression {
  std::vector<int64_t> numbers;   // whole ones as they are written, left to right
  std::optional<Fraction> value;  // empty where something is divided by 0, or does not fit a Fraction
};

enum class Numbers { Whole, Decimal };  // 3; or 0.25 too

// Numbers, + - * / between them or as a sign, parentheses, blanks: nothing else, and all of `text`. Empty for
// what is none, is longer than 256 characters, nests deeper than 32 or has a number of more than 18 digits.
std::optional<Expression> parse_expression(std::string_view text, Numbers numbers = Numbers::Whole);

}  // namespace sluice::rewards::internal
