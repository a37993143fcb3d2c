// Where the characters of a UTF-8 text begin.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace sluice::text::internal {

// The length in bytes of the character at `offset` (below text.size()), or 0 when the bytes there are not
// one: overlong forms, surrogates and what lies past U+10FFFF included.
size_t utf8_length(std::string_view text, size_t offset);

// How many bytes from the beginning are UTF-8: text.size() when all are.
size_t valid_utf8_prefix(std::string_view text);

// The offset of every character, and the size of the text as last element. Throws DataError naming `where`
// and the byte for a text that is not UTF-8.
std::vector<size_t> character_offsets(std::string_view text, std::string_view where);

}  // namespace sluice::text::internal
