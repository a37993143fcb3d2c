#include "text/tokenizer_json/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "text/internal/unicode.h"

namespace sluice::text::internal {
namespace {

constexpr char32_t kFirstFree = 0x100;  // where the bytes begin that have no printable character of their own
constexpr char32_t kEnd = 0x144;

bool is_printable(unsigned byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  Alphabet() {
    codes.fill(-1);
    char32_t free = kFirstFree;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const char32_t code = is_printable(byte) ? byte : free++;
      append_utf8(characters[byte], code);
      codes[code] = static_cast<int16_t>(byte);
    }
  }

  std::array<std::string, 256> characters;
  std::array<int16_t, kEnd> codes;  // the byte of a character, -1 for none
};

const Alphabet& alphabet() {
  static const Alphabet the_alphabet;
  return the_alphabet;
}

}  // namespace

void append_as_alphabet(std::string& out, std::string_view bytes) {
  const auto& characters = alphabet().characters;
  for (const char byte : bytes) {
    const auto& character = characters[static_cast<unsigned char>(byte)];
    out.push_back(character[0]);
    if (character.size() == 2) out.push_back(character[1]);
  }
}

std::string from_alphabet(std::string_view token) {
  const auto& codes = alphabet().codes;
  std::string bytes;
  for (size_t at = 0; at < token.size();) {
    const Character character = character_at(token, at);
    if (character.code >= kEnd || codes[character.code] < 0) return std::string(token);
    bytes.push_back(static_cast<char>(codes[character.code]));
    at += character.length;
  }
  return bytes;
}

}  // namespace sluice::text::internal
