// Tokens as machine translation is measured with.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::rewards::internal {

// The rules of mteval-v13a, as sacreBLEU has them: marks of ASCII are tokens, but for an apostrophe, a point
// or comma between digits, and a hyphen that is not behind a digit.
std::vector<std::string> mteval_tokens(std::string_view text);

}  // namespace sluice::rewards::internal
