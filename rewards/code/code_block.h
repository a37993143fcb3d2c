// Where in a completion its program stands.
#pragma once

#include <string>

namespace sluice::rewards::code {

// What the last ```python block holds (```py and ```python3 are the same), else the last ``` block without
// a language, else all of it. A block that is not closed goes to the end.
std::string code_block(const std::string& completion);

}  // namespace sluice::rewards::code
