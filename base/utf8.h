// Texts that are cut without breaking a character.
#pragma once

#include <cstddef>
#include <string_view>

namespace sluice {

// The beginning of a UTF-8 text, at most `bytes` of it, that ends between characters.
inline std::string_view whole_characters(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0u) == 0x80u) --bytes;
  return text.substr(0, bytes);
}

}  // namespace sluice
