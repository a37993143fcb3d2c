// The byte-level alphabet of GPT-2: a printable character for every byte.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice::text::internal {

// Appends a character for each byte.
void append_as_alphabet(std::string& out, std::string_view bytes);

// The bytes that the characters of a token stand for, or the token itself when one of them stands for none.
std::string from_alphabet(std::string_view token);

}  // namespace sluice::text::internal
