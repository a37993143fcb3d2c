#include "text/internal/spelling.h"

namespace sluice::text::internal {
namespace {

constexpr size_t kMaxShown = 240;

}  // namespace

std::string byte_token(unsigned char byte) {
  constexpr const char* kDigits = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte / 16], kDigits[byte % 16], '>'};
}

std::optional<unsigned char> byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  int value = 0;
  for (const char digit : {token[3], token[4]}) {
    const bool decimal = digit >= '0' && digit <= '9';
    const char letter = static_cast<char>(digit | 0x20);
    if (!decimal && (letter < 'a' || letter > 'f')) return std::nullopt;
    value = value * 16 + (decimal ? digit - '0' : letter - 'a' + 10);
  }
  return static_cast<unsigned char>(value);
}

std::string quoted(std::string_view token) {
  const bool cut = token.size() > kMaxShown;
  return "\"" + std::string(token.substr(0, kMaxShown)) + (cut ? "\"..." : "\"");
}

}  // namespace sluice::text::internal
