// Words of commands that are shown to be typed.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

// In quotes for a POSIX shell, where it is not one plain word.
std::string shell_word(std::string_view text);
// In quotes always.
std::string shell_quoted(std::string_view text);

}  // namespace sluice
