// Characters of a UTF-8 text and their properties.
//
// Properties are those of the Unicode version of libutf8proc.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::text::internal {

struct Character {
  char32_t code;
  size_t length;  // in bytes
};

// The character at `offset` of a text that is UTF-8.
inline Character character_at(std::string_view text, size_t offset) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[offset + i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const auto next = [&](char32_t code, size_t i) { return (code << 6) | (byte(i) & 0x3Fu); };
  if (lead < 0xE0) return {next(lead & 0x1F, 1), 2};
  if (lead < 0xF0) return {next(next(lead & 0x0F, 1), 2), 3};
  return {next(next(next(lead & 0x07, 1), 2), 3), 4};
}

void append_utf8(std::string& out, char32_t code);

bool is_whitespace(char32_t code);   // White_Space
bool is_numeric(char32_t code);      // Nd, Nl, No
bool is_punctuation(char32_t code);  // P*, and the ASCII signs that Unicode counts among symbols
bool is_mark(char32_t code);         // Mn, Mc, Me
bool is_word(char32_t code);         // what \w is: letters, marks, digits, connectors, joiners

// The lower-case form of a character by itself: two characters for U+0130.
void append_lowercase(std::string& out, char32_t code);

// `text` when it is UTF-8; else a copy, kept in `repaired`, with U+FFFD for every maximal part that is not.
std::string_view as_utf8(std::string_view text, std::string& repaired);

// Whether the bytes at the end of `text` begin a character that further bytes could complete.
bool ends_inside_character(std::string_view text);

}  // namespace sluice::text::internal
