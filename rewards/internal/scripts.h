// The script that a character belongs to, and the small words that tell languages of one script apart.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace sluice::rewards::internal {

enum class Script {
  None,
  Latin,
  Greek,
  Cyrillic,
  Hebrew,
  Arabic,
  Devanagari,
  Thai,
  Hangul,
  Kana,
  Han,
  Other
};

// None: digits, punctuation, symbols, spaces. Other: a letter of a script that is not named here.
Script script_of(char32_t character);

struct Language {
  std::string_view code;                      // ISO 639-1
  std::vector<Script> scripts;                // Japanese has two
  std::vector<std::string_view> small_words;  // in lower case; none where the script says enough
};

std::span<const Language> languages();

}  // namespace sluice::rewards::internal
