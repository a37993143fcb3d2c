// Compares two mathematical answers, in LaTeX or plain text: docs/rewards.md has the cases.
//
// Nothing is run or looked up: the text is read into a tree of bounded depth, whose values are computed as
// fractions where they are fractions, and with variables at a few points drawn from their names.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "rewards/math/compare.h"

namespace sluice::rewards::math {

struct Verdict {
  bool readable = false;  // the given answer is one of the kinds that are known
  bool same = false;
  int64_t steps = 0;  // of work: see budget.h
};

// Texts longer than kMaxAnswerBytes are not readable. What is spelled alike is the same, readable or not.
Verdict compare(std::string_view given, std::string_view gold, const Tolerance& tolerance = {});

// Whether the text is a single real number, with a unit or without.
bool is_number(std::string_view text);

}  // namespace sluice::rewards::math
