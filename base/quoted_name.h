// Names from files in error messages.
#pragma once

#include <string>

namespace sluice {

// A name from a file as an error may print it: in quotes, control characters escaped, cut when it is long.
std::string quoted_name(const std::string& name);

}  // namespace sluice
