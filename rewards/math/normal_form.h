// Several ways to write an answer, made one.
#pragma once

#include <string>
#include <vector>

#include "rewards/math/expression.h"

namespace sluice::rewards::math {

// Lists in lists become one, and a list of one what it holds; 1 +- 2 the list of 3 and -1; -2 <= x < 7 and "x
// in
// [-2, 7)" the interval; the angle 30^\circ thirty degrees, where all of it is an angle; a > b is b < a.
Expression normal_form(Expression expression);

// "infinity", "-infinity" or "emptyset" for what has no value to be computed; "" for everything else.
std::string symbol_of(const Expression& expression);

// Of a relation "x = 5", "f(x) = 5", "Area = 5 = ..." or "x in [1, 2]" all but the name; nothing where it has
// none.
bool is_named(const Expression& relation);
std::vector<const Expression*> values_of(const Expression& relation);

}  // namespace sluice::rewards::math
