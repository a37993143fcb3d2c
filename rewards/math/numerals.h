// Numbers as they are written.
#pragma once

#include <optional>
#include <string_view>

#include "rewards/math/rational.h"

namespace sluice::rewards::math {

// The text of a Number token: "12", ".5", "3.", "0.1(6)" with its repeating digits, "1e-05".
std::optional<Rational> rational_of(std::string_view numeral);

// Digits alone.
bool is_whole(std::string_view numeral);

}  // namespace sluice::rewards::math
