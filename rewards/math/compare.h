// Whether two trees are one answer.
#pragma once

#include "rewards/math/budget.h"
#include "rewards/math/expression.h"

namespace sluice::rewards::math {

// How far a number may be from the right one; by default not at all.
struct Tolerance {
  double relative = 0.0;  // of the right number
  double absolute = 0.0;
};

// False, too, where the budget ended before it was known.
bool is_same(const Expression& given, const Expression& gold, const Tolerance& tolerance, Budget& budget);

}  // namespace sluice::rewards::math
