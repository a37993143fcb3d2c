// The value of an expression where its variables have values.
#pragma once

#include <cstdint>

#include "rewards/math/budget.h"
#include "rewards/math/expression.h"
#include "rewards/math/value.h"

namespace sluice::rewards::math {

// Variables stand for positive numbers: fractions between 0.7 and 1, drawn from (trial, name) and from
// nothing else, so that two expressions see the same ones. The base of a \log without one is drawn as well.
// Empty for what has no value, for a part that is none (a tuple, words), and where the budget is spent.
MaybeValue value_at(const Expression& expression, uint64_t trial, Budget& budget);

// Whether a variable is somewhere in it.
bool has_variable(const Expression& expression);

}  // namespace sluice::rewards::math
