// Reads the tree of an answer. The text is the policy's: hostile, so depth and size are bounded.
#pragma once

#include <optional>
#include <vector>

#include "rewards/math/expression.h"
#include "rewards/math/tokens.h"

namespace sluice::rewards::math {

struct Reading {
  // "5 m" is five metres, where it would be five times m otherwise; "5 cm" is five centimetres always.
  bool letters_are_units = false;
};

// Empty for what is none of the answers that docs/rewards.md lists.
std::optional<Expression> parse(const std::vector<Token>& tokens, const Reading& reading);

}  // namespace sluice::rewards::math
