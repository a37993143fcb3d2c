// Text of others on a terminal: nothing in it is obeyed, and lines end where the screen does.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

struct TerminalSize {
  size_t columns = 80, rows = 24;
};
// Of the terminal that `fd` is, else what COLUMNS and LINES say, else 80 x 24.
TerminalSize terminal_size(int fd);

// One character, its width in columns (0, 1 or 2) and how it is set off: a sequence such as "\x1b[31m", or ""
// for none.
struct Glyph {
  std::string text;
  size_t width = 1;
  std::string_view style = {};  // a literal
};

// The text as it may be shown, "\n" kept: control characters and those that turn the direction of writing are
// spelled out, "\x1b" and "\u{202e}", bytes that are no UTF-8 are U+FFFD, a tab is four spaces.
std::vector<Glyph> glyphs(std::string_view text, std::string_view style = {});
std::string inert(std::string_view text);
size_t display_width(std::string_view text);

// Lines of at most `columns`, broken at spaces where there are some; styles are closed at the end of a line.
// More than `max_lines` end in "...".
std::vector<std::string> wrapped(const std::vector<Glyph>& text, size_t columns, size_t max_lines);
// One line of exactly `columns`, cut with "..." or filled with spaces.
std::string fitted_line(std::string_view text, size_t columns);

inline constexpr std::string_view kStyleOff = "\x1b[0m";

}  // namespace sluice
