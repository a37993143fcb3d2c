// Units behind a number.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rewards/math/rational.h"

namespace sluice::rewards::math {

// A unit in one spelling ("square inches" and "in" to the power 2 are "in^2"), and what one of it is in the
// base unit of its kind. A unit that is in no table is its own kind.
struct Unit {
  std::string name;
  std::string kind;     // "length^2"
  Rational factor = 1;  // in the base unit of the kind
};

// `words` as they stand behind a number, in lower case with single blanks; `power` is behind them: cm^2.
Unit unit_of(std::string_view words, int64_t power = 1);
// By its one spelling.
Unit unit_named(std::string_view name);

// Whether these letters are a unit's short name, as cm is: letters alone might be variables.
bool is_unit_symbol(std::string_view letters);

// What "million" behind a number multiplies it by.
std::optional<int64_t> scale_of(std::string_view word);

// Words that say something about a number ("minus", "squared", "or"), so that what stands before them is not
// the answer.
bool changes_meaning(std::string_view word);

}  // namespace sluice::rewards::math
