// What stands behind the keys `python` and `command` in a recipe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace sluice::rewards::plugins {

// "my.py:reward". Throws UsageError for text of another form.
struct FunctionOfFile {
  std::string file;
  std::string function;
};
FunctionOfFile split_function(std::string_view text);

// A program and its arguments: a list of texts, or text that is parted at blanks. Throws UsageError when
// there is no program.
std::vector<std::string> command_words(const Json& command);

}  // namespace sluice::rewards::plugins
