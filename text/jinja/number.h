// Numbers from text, and rounding, as Python does them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "text/jinja/context.h"

namespace sluice::text::jinja {

// int(text, base): white space around it, a sign, single underscores between digits, and the prefix of the
// base are read over. Nothing for other text; fails for a number beyond 64 bits.
std::optional<int64_t> parse_integer(Context& context, std::string_view text, int64_t base);
// float(text); "inf" and "nan" are numbers.
std::optional<double> parse_real(std::string_view text);
// round(value, digits): the nearest, and of two equally near the even one.
double round_half_even(double value, int digits);

}  // namespace sluice::text::jinja
