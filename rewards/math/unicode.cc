#include "rewards/math/unicode.h"

#include <algorithm>
#include <utility>

namespace sluice::rewards::math {
namespace {

constexpr std::pair<std::string_view, std::string_view> kNames[] = {
    {"\u2212", "-"},
    {"\u2010", "-"},
    {"\u2011", "-"},
    {"\u2013", "-"},
    {"\u00d7", "\\times "},
    {"\u00b7", "\\cdot "},
    {"\u22c5", "\\cdot "},
    {"\u00f7", "\\div "},
    {"\u2044", "/"},
    {"\u2215", "/"},
    {"\u03c0", "\\pi "},
    {"\u221a", "\\sqrt "},
    {"\u221e", "\\infty "},
    {"\u222a", "\\cup "},
    {"\u2264", "\\le "},
    {"\u2265", "\\ge "},
    {"\u2260", "\\ne "},
    {"\u00b1", "\\pm "},
    {"\u2213", "\\mp "},
    {"\u00b0", "^\\circ "},
    {"\u2208", "\\in "},
    {"\u2205", "\\emptyset "},
    {"\u211d", "\\mathbb{R}"},
    {"\u2032", "'"},
    {"\u00bd", "\\frac12 "},
    {"\u00bc", "\\frac14 "},
    {"\u00be", "\\frac34 "},
    {"\u2153", "\\frac13 "},
    {"\u2154", "\\frac23 "},
    {"\u215b", "\\frac18 "},
    {"\u03b1", "\\alpha "},
    {"\u03b2", "\\beta "},
    {"\u03b3", "\\gamma "},
    {"\u03b4", "\\delta "},
    {"\u03b8", "\\theta "},
    {"\u03bb", "\\lambda "},
    {"\u03bc", "\\mu "},
    {"\u03c6", "\\phi "},
    {"\u03c9", "\\omega "},
    {"\u00a0", " "},
    {"\u2009", " "},
    {"\u202f", " "},
    {"\u2061", ""},
};

constexpr std::string_view kRaised[] = {"\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074",
                                        "\u2075", "\u2076", "\u2077", "\u2078", "\u2079"};

bool take_named(std::string_view text, size_t& at, std::string& out) {
  for (const auto& [character, name] : kNames) {
    if (!text.substr(at).starts_with(character)) continue;
    out += name;
    at += character.size();
    return true;
  }
  return false;
}

// A run of raised digits is one exponent.
bool take_raised(std::string_view text, size_t& at, std::string& out) {
  std::string digits;
  for (bool found = true; found;) {
    found = false;
    for (size_t digit = 0; digit < 10 && !found; ++digit) {
      if (!text.substr(at).starts_with(kRaised[digit])) continue;
      digits += static_cast<char>('0' + digit);
      at += kRaised[digit].size();
      found = true;
    }
  }
  if (!digits.empty()) out += "^{" + digits + "}";
  return !digits.empty();
}

}  // namespace

std::string in_ascii(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const bool plain = static_cast<unsigned char>(text[at]) < 0x80;
    if (plain || (!take_named(text, at, out) && !take_raised(text, at, out))) out += text[at++];
  }
  return out;
}

}  // namespace sluice::rewards::math
