#include "text/jinja/lexer.h"

#include <gtest/gtest.h>

namespace sluice::text::jinja {
namespace {

// The texts between tags, with "|" where a tag stands.
std::string texts(const std::string& source) {
  std::string out;
  for (const Token& token : tokenize(source, "t")) {
    if (token.kind == Token::Kind::Text) out += token.text;
    if (token.kind == Token::Kind::BlockBegin || token.kind == Token::Kind::OutputBegin) out += "|";
  }
  return out;
}

TEST(JinjaLexer, TakesTheLineEndAfterABlockAndTheIndentBeforeIt) {
  EXPECT_EQ(texts("a\n  {% x %}\n  b"), "a\n|  b");
  EXPECT_EQ(texts("a  {% x %}  b"), "a  |  b");
  EXPECT_EQ(texts("  {% x %}{% y %}"), "||");
  EXPECT_EQ(texts("{% x %}\n\n"), "|");  // the template's last line end is gone before
}

TEST(JinjaLexer, LeavesWhatStandsAroundAnOutput) { EXPECT_EQ(texts("a\n  {{ x }}\n  b"), "a\n  |\n  b"); }

TEST(JinjaLexer, TakesAllWhiteSpaceAtAMinusAndNoneAtAPlus) {
  EXPECT_EQ(texts("a \n {%- x -%} \n b"), "a|b");
  EXPECT_EQ(texts("a \n {{- x -}} \n b"), "a|b");
  EXPECT_EQ(texts("a\n  {%+ x +%}\n b"), "a\n  |\n b");
  EXPECT_EQ(texts("a\u00a0{%- x -%}\u3000b"), "a|b");
}

TEST(JinjaLexer, TreatsAnIndentAfterAStrippedLineEndAsTheBeginningOfALine) {
  EXPECT_EQ(texts("{% x -%}\n  {% y %}"), "||");
  EXPECT_EQ(texts("{% x %}\n  {% y %}b"), "||b");
  EXPECT_EQ(texts("{{ x }}  {% y %}b"), "|  |b");
}

TEST(JinjaLexer, LeavesRawTextAlone) {
  EXPECT_EQ(texts("{% raw %}\n{{ x }} {% y %}{% endraw %}\nb"), "\n{{ x }} {% y %}b");
  EXPECT_EQ(texts("{%- raw -%}\n a {%- endraw -%}\n b"), "ab");
}

TEST(JinjaLexer, DropsComments) { EXPECT_EQ(texts("a\n  {# {{ x }} #}\nb{#- c -#} d"), "a\nbd"); }

TEST(JinjaLexer, MakesOneKindOfLineEnd) { EXPECT_EQ(texts("a\r\nb\rc\n"), "a\nb\nc"); }

TEST(JinjaLexer, DoesNotEndATagInsideBrackets) {
  const auto tokens = tokenize("{{ {'a': {}} }}", "t");
  EXPECT_EQ(tokens[tokens.size() - 2].kind, Token::Kind::OutputEnd);
  EXPECT_EQ(tokens.size(), 9u);
}

TEST(JinjaLexer, ReadsNumbers) {
  const auto tokens = tokenize("{{ 1_000 0x1F 0b11 1.5 2e3 a.0.1 }}", "t");
  EXPECT_EQ(tokens[1].integer, 1000);
  EXPECT_EQ(tokens[2].integer, 31);
  EXPECT_EQ(tokens[3].integer, 3);
  EXPECT_EQ(tokens[4].real, 1.5);
  EXPECT_EQ(tokens[5].real, 2000.0);
  EXPECT_EQ(tokens[8].kind, Token::Kind::Integer);  // a . 0 . 1: no fraction after a dot
  EXPECT_EQ(tokens[10].kind, Token::Kind::Integer);
}

TEST(JinjaLexer, ReadsEscapesOfTexts) {
  EXPECT_EQ(tokenize(R"({{ 'a\n\x41\u00e9\U0001f600\101\'\\\q' }})", "t")[1].text, "a\nAé😀A'\\\\q");
  EXPECT_EQ(tokenize("{{ 'a\\\nb' }}", "t")[1].text, "ab");
}

TEST(JinjaLexer, CountsLines) {
  const auto tokens = tokenize("a\nb\n{{\nx\n}}", "t");
  EXPECT_EQ(tokens[1].line, 3);
  EXPECT_EQ(tokens[2].line, 4);
  EXPECT_EQ(tokens[3].line, 5);
}

}  // namespace
}  // namespace sluice::text::jinja
