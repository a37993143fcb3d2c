#include "base/terminal_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice {
namespace {

using testing::ElementsAre;

TEST(TerminalText, IsInertWhateverItHolds) {
  EXPECT_EQ(inert("plain \xC3\xA9\n"), "plain \xC3\xA9\n");
  EXPECT_EQ(inert("\x1b]0;title\x07\x1b[2J"), "\\x1b]0;title\\x07\\x1b[2J");
  EXPECT_EQ(inert("a\rb\tc\x7f"), "a\\x0db    c\\x7f");
  EXPECT_EQ(inert("\xC2\x9b"
                  "31m"),
            "\\u{009b}31m");  // the CSI of eight bits
  EXPECT_EQ(inert("\xE2\x80\xAE"
                  "txt"),
            "\\u{202e}txt");  // right to left
  EXPECT_EQ(inert(std::string_view("\xFF\xC3(\xED\xA0\x80\0", 7)),
            "\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\\x00");
}

TEST(TerminalText, CountsColumns) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("\xE6\xBC\xA2\xE5\xAD\x97"), 4);  // two characters of Chinese
  EXPECT_EQ(display_width("e\xCC\x81"), 1);                 // e and a combining accent
}

TEST(TerminalText, WrapsAtSpacesAndClosesStyles) {
  EXPECT_THAT(wrapped(glyphs("to be or not"), 6, 9), ElementsAre("to be ", "or not"));
  EXPECT_THAT(wrapped(glyphs("abcdefgh"), 3, 9), ElementsAre("abc", "def", "gh"));
  EXPECT_THAT(wrapped(glyphs("a\n\nb"), 3, 9), ElementsAre("a", "", "b"));
  EXPECT_THAT(wrapped(glyphs("a\nb\nc\nd"), 3, 2), ElementsAre("a", "..."));
  EXPECT_THAT(wrapped(glyphs("abcd", "\x1b[31m"), 2, 9),
              ElementsAre("\x1b[31mab\x1b[0m", "\x1b[31mcd\x1b[0m"));
}

TEST(TerminalText, FitsALine) {
  EXPECT_EQ(fitted_line("abc", 5), "abc  ");
  EXPECT_EQ(fitted_line("abcdef", 5), "ab...");
  EXPECT_EQ(fitted_line("a\nb", 4), "a b ");
}

}  // namespace
}  // namespace sluice
