// Mathematical characters in the words of LaTeX.
#pragma once

#include <string>
#include <string_view>

namespace sluice::rewards::math {

// "x² − ½π" as "x^{2} - \frac12 \pi ". What has no such name stays as it is, digits of other alphabets too.
std::string in_ascii(std::string_view text);

}  // namespace sluice::rewards::math
