#include "text/internal/utf8.h"

#include <cstdint>

#include "base/error.h"

namespace sluice::text::internal {

size_t utf8_length(std::string_view text, size_t offset) {
  const auto byte = [&](size_t i) -> uint32_t { return static_cast<unsigned char>(text[offset + i]); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() - offset < length) return 0;

  uint32_t code = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    code = (code << 6) | (byte(i) & 0x3F);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return overlong || surrogate || code > 0x10FFFF ? 0 : length;
}

size_t valid_utf8_prefix(std::string_view text) {
  size_t offset = 0;
  while (offset < text.size()) {
    const size_t length = utf8_length(text, offset);
    if (length == 0) break;
    offset += length;
  }
  return offset;
}

std::vector<size_t> character_offsets(std::string_view text, std::string_view where) {
  std::vector<size_t> offsets;
  offsets.reserve(text.size() + 1);
  size_t offset = 0;
  while (offset < text.size()) {
    offsets.push_back(offset);
    const size_t length = utf8_length(text, offset);
    require<DataError>(length > 0, where, ": not UTF-8 at byte ", offset);
    offset += length;
  }
  offsets.push_back(offset);
  return offsets;
}

}  // namespace sluice::text::internal
