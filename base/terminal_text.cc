#include "base/terminal_text.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace sluice {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

struct Decoded {
  char32_t code = kReplacement;
  size_t bytes = 1;
};

// The character at the front of `text`; one byte where there is none.
Decoded decode(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < size) return {};
  char32_t code = first & (0xFF >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = (code << 6) | (byte(i) & 0x3F);
  }
  constexpr std::array<char32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  return code < kLeast[size] || code > 0x10FFFF || surrogate ? Decoded{} : Decoded{code, size};
}

// What moves the cursor, sets colours, hides text or turns it round.
bool is_active(char32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0xAD || code == 0x61C ||
         (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF || (code >= 0xE0000 && code <= 0xE007F);
}

std::string spelled(char32_t code) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), code < 0x80 ? "\\x%02x" : "\\u{%04x}", static_cast<unsigned>(code));
  return text.data();
}

// Combining marks take no column, what East Asian scripts and emoji write two.
size_t width_of(char32_t code) {
  if ((code >= 0x300 && code < 0x370) || (code >= 0xFE00 && code < 0xFE10) ||
      (code >= 0x20D0 && code < 0x2100))
    return 0;
  const bool wide = (code >= 0x1100 && code < 0x1160) || (code >= 0x2E80 && code < 0xA4D0) ||
                    (code >= 0xAC00 && code < 0xD7A4) || (code >= 0xF900 && code < 0xFB00) ||
                    (code >= 0xFE30 && code < 0xFE70) || (code >= 0xFF00 && code < 0xFF61) ||
                    (code >= 0xFFE0 && code < 0xFFE7) || (code >= 0x1F300 && code < 0x1F650) ||
                    (code >= 0x1F680 && code < 0x1F700) || (code >= 0x1F900 && code < 0x1FB00) ||
                    (code >= 0x20000 && code < 0x40000);
  return wide ? 2 : 1;
}

size_t number_of(const char* variable, size_t otherwise) {
  const char* text = std::getenv(variable);
  const long value = text == nullptr ? 0 : std::strtol(text, nullptr, 10);
  return value > 0 && value < 10'000 ? static_cast<size_t>(value) : otherwise;
}

std::string line_of(const std::vector<Glyph>& text, size_t begin, size_t end) {
  std::string line;
  std::string_view style;
  for (size_t i = begin; i < end; ++i) {
    if (text[i].style != style) {
      if (!style.empty()) line += kStyleOff;
      line += text[i].style;
      style = text[i].style;
    }
    line += text[i].text;
  }
  if (!style.empty()) line += kStyleOff;
  return line;
}

// Where a line that begins at `begin` ends, and where the next one begins.
std::pair<size_t, size_t> break_line(const std::vector<Glyph>& text, size_t begin, size_t columns) {
  size_t width = 0, after_space = begin;
  for (size_t i = begin; i < text.size(); ++i) {
    if (text[i].text == "\n") return {i, i + 1};
    if (width + text[i].width > columns && i > begin) {
      const size_t at = after_space > begin + (i - begin) / 2 ? after_space : i;
      return {at, at};
    }
    width += text[i].width;
    if (text[i].text == " ") after_space = i + 1;
  }
  return {text.size(), text.size()};
}

}  // namespace

TerminalSize terminal_size(int fd) {
  winsize size{};
  TerminalSize found{number_of("COLUMNS", 80), number_of("LINES", 24)};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0) return found;
  if (size.ws_col > 0) found.columns = size.ws_col;
  if (size.ws_row > 0) found.rows = size.ws_row;
  return found;
}

std::vector<Glyph> glyphs(std::string_view text, std::string_view style) {
  std::vector<Glyph> all;
  all.reserve(text.size());
  while (!text.empty()) {
    const auto [code, bytes] = decode(text);
    if (code == '\n') {
      all.push_back({"\n", 0, style});
    } else if (code == '\t') {
      for (int i = 0; i < 4; ++i) all.push_back({" ", 1, style});
    } else if (is_active(code)) {
      for (const char c : spelled(code)) all.push_back({std::string(1, c), 1, style});
    } else if (code == kReplacement) {
      all.push_back({"\xEF\xBF\xBD", 1, style});
    } else {
      all.push_back({std::string(text.substr(0, bytes)), width_of(code), style});
    }
    text.remove_prefix(bytes);
  }
  return all;
}

std::string inert(std::string_view text) {
  std::string out;
  for (const auto& glyph : glyphs(text)) out += glyph.text;
  return out;
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (const auto& glyph : glyphs(text)) width += glyph.width;
  return width;
}

std::vector<std::string> wrapped(const std::vector<Glyph>& text, size_t columns, size_t max_lines) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    if (lines.size() == max_lines) {
      lines.back() = "...";
      return lines;
    }
    const auto [end, next] = break_line(text, begin, std::max<size_t>(columns, 1));
    lines.push_back(line_of(text, begin, end));
    begin = next;
  }
  return lines;
}

std::string fitted_line(std::string_view text, size_t columns) {
  const auto all = glyphs(text);
  size_t width = 0;
  for (const auto& glyph : all) width += glyph.width;
  const bool cut = width > columns;
  const size_t room = cut ? columns - std::min<size_t>(columns, 3) : columns;
  std::string line;
  width = 0;
  for (const auto& glyph : all) {
    if (width + glyph.width > room) break;
    line += glyph.text == "\n" ? " " : glyph.text;
    width += glyph.text == "\n" ? 1 : glyph.width;
  }
  if (cut) {
    line += std::string(std::min<size_t>(columns, 3), '.');
    width += std::min<size_t>(columns, 3);
  }
  return line + std::string(columns - std::min(columns, width), ' ');
}

}  // namespace sluice
