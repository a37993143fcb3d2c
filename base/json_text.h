// Text as JSON writes it, without a tree of values: for lines that are mostly texts.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

// In quotes, as Json::dump() with error_handler_t::replace: nearly all of it are plain characters, which are
// copied as they are.
void append_json_text(std::string& json, std::string_view text);

}  // namespace sluice
