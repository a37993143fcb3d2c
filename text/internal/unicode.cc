#include "text/internal/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "text/internal/utf8.h"

namespace sluice::text::internal {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

utf8proc_category_t category(char32_t code) { return utf8proc_category(static_cast<int32_t>(code)); }

bool in(char32_t code, char32_t first, char32_t last) { return code >= first && code <= last; }

// Circled and squared letters are symbols to Unicode's categories and letters to its Alphabetic.
bool is_enclosed_letter(char32_t code) {
  return in(code, 0x24B6, 0x24E9) || in(code, 0x1F130, 0x1F149) || in(code, 0x1F150, 0x1F169) ||
         in(code, 0x1F170, 0x1F189);
}

// How many bytes at `offset` are the beginning of a character: at least 1.
size_t maximal_part(std::string_view text, size_t offset) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[offset + i]); };
  const unsigned lead = byte(0);
  if (lead < 0xC2 || lead > 0xF4 || offset + 1 == text.size()) return 1;
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 1;
  const size_t length = std::min<size_t>(lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2, text.size() - offset);
  size_t part = 2;
  while (part < length && (byte(part) & 0xC0) == 0x80) ++part;
  return part;
}

// The first offset from `offset` on that is not inside UTF-8, or the end.
size_t skip_utf8(std::string_view text, size_t offset) {
  while (offset < text.size()) {
    uint64_t eight = 0;
    if (text.size() - offset >= sizeof eight) {
      std::memcpy(&eight, text.data() + offset, sizeof eight);
      if ((eight & 0x8080808080808080u) == 0) {
        offset += sizeof eight;
        continue;
      }
    }
    const size_t length = utf8_length(text, offset);
    if (length == 0) break;
    offset += length;
  }
  return offset;
}

}  // namespace

void append_utf8(std::string& out, char32_t code) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(static_cast<int32_t>(code), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

bool is_whitespace(char32_t code) {
  return in(code, 0x09, 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         in(code, 0x2000, 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
         code == 0x3000;
}

bool is_numeric(char32_t code) {
  const auto kind = category(code);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(char32_t code) {
  if (code < 0x80)
    return in(code, '!', '/') || in(code, ':', '@') || in(code, '[', '`') || in(code, '{', '~');
  const auto kind = category(code);
  return kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO;
}

bool is_mark(char32_t code) {
  const auto kind = category(code);
  return kind >= UTF8PROC_CATEGORY_MN && kind <= UTF8PROC_CATEGORY_ME;
}

bool is_word(char32_t code) {
  const auto kind = category(code);
  return (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO) || is_mark(code) ||
         kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_PC ||
         is_enclosed_letter(code) || code == 0x200C || code == 0x200D;
}

void append_lowercase(std::string& out, char32_t code) {
  if (code == 0x130) {
    out += "i\u0307";
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<int32_t>(code))));
  }
}

std::string_view as_utf8(std::string_view text, std::string& repaired) {
  size_t end = skip_utf8(text, 0);
  if (end == text.size()) return text;
  repaired.clear();
  for (size_t begin = 0; begin < text.size(); end = skip_utf8(text, begin)) {
    repaired += text.substr(begin, end - begin);
    if (end == text.size()) break;
    repaired += kReplacement;
    begin = end + maximal_part(text, end);
  }
  return repaired;
}

bool ends_inside_character(std::string_view text) {
  const size_t longest = std::min<size_t>(3, text.size());
  for (size_t held = 1; held <= longest; ++held) {
    const size_t offset = text.size() - held;
    const auto lead = static_cast<unsigned char>(text[offset]);
    if ((lead & 0xC0) == 0x80) continue;
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
    return length > held && maximal_part(text, offset) == held;
  }
  return false;
}

}  // namespace sluice::text::internal
