#include "text/tokenizer_json/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice::text::internal {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  RegexMemory memory;
  std::vector<Range> found;
  Regex(pattern, "here").find_all(text, memory, found);
  std::vector<std::string> out;
  for (const auto& range : found) out.push_back(text.substr(range.begin, range.end - range.begin));
  return out;
}

TEST(Regex, KnowsUnicode) {
  EXPECT_THAT(matches(R"(\p{L}+|\p{N}{1,3})", "aé中 1234"), ElementsAre("aé中", "123", "4"));
  EXPECT_THAT(matches(R"((?i:'s|'ll))", "'S 'lL '\u017f"), ElementsAre("'S", "'lL", "'\u017f"));
  EXPECT_THAT(matches(R"(\s+(?!\S)|\s+)", "a  b "), ElementsAre(" ", " ", " "));
  EXPECT_THAT(matches(R"(\d+)", "1\u0661x"), ElementsAre("1\u0661"));
}

TEST(Regex, HasTheSpacesAndWordsOfOniguruma) {
  EXPECT_THAT(matches(R"(\s)", "\u180e\u00a0\u0085\u2028"), ElementsAre("\u00a0", "\u0085", "\u2028"));
  EXPECT_THAT(matches(R"([^\s]+)", "a\u180e b"), ElementsAre("a\u180e", "b"));
  EXPECT_THAT(matches(R"(\S+)", "a\u180e b"), ElementsAre("a\u180e", "b"));
  EXPECT_THAT(matches(R"(\w+)", "e\u0301_\u203f-\u0903"), ElementsAre("e\u0301_\u203f", "\u0903"));
  EXPECT_THAT(matches(R"(\W)", "a-"), ElementsAre("-"));
}

TEST(Regex, ReadsRubysRepetitionsAndAnchors) {
  EXPECT_THAT(matches("a{,2}b", "aaab"), ElementsAre("aab"));
  EXPECT_THAT(matches("^a|b$", "xa\na\nb\n"), ElementsAre("a", "b"));
  EXPECT_THAT(matches(R"(\p{L}++x?|[\]a-b{}]+)", "ax]a{}"), ElementsAre("ax", "]a{}"));
}

TEST(Regex, ReadsRubysOptionsAndEscapes) {
  EXPECT_THAT(matches("(?m).+", "ab\ncd"), ElementsAre("ab\ncd"));
  EXPECT_THAT(matches("(?m:a.b)|.+", "a\nbc\nd"), ElementsAre("a\nb", "c", "d"));
  EXPECT_THAT(matches("(?i-m)A.", "a\nab"), ElementsAre("ab"));
  EXPECT_THAT(matches(R"(\v)", "a\x0b\n"), ElementsAre("\x0b"));
  EXPECT_THAT(matches(R"([(*(?C]+)", "(*(?C"), ElementsAre("(*(?C"));
}

TEST(Regex, SeesAWordEndWhereOnigurumaDoes) {
  EXPECT_THAT(matches(R"(\b\w+\b)", "ae\u0301 b_c"), ElementsAre("ae\u0301", "b_c"));
  EXPECT_THAT(matches(R"(\ba)", "e\u0301a \u0903a a"), ElementsAre("a"));  // after a mark there is no border
  EXPECT_THAT(matches(R"(\Ba\B)", "aaa a"), ElementsAre("a"));
  EXPECT_THAT(matches(R"([\b])", "a\x08"), ElementsAre("\x08"));  // in a class it is a backspace
}

TEST(Regex, SkipsAnEmptyMatchWhereOneHasEnded) {
  EXPECT_THAT(matches("a*", "baa"), ElementsAre("", "aa"));
  EXPECT_THAT(matches("x*", "中"), ElementsAre("", ""));
}

TEST(Regex, RefusesWhatTheLibrariesReadDifferently) {
  const auto refusal = [](const std::string& pattern) {
    return message_of<DataError>([&] { Regex(pattern, "here"); });
  };
  EXPECT_THAT(refusal("[a[bc]]"), HasSubstr("inside a character class"));
  EXPECT_THAT(refusal("[a&&b]"), HasSubstr("inside a character class"));
  EXPECT_THAT(refusal(R"(\h+)"), HasSubstr("\\h"));
  EXPECT_THAT(refusal("a{1,3}+"), HasSubstr("after a counted repetition"));
  EXPECT_THAT(refusal(R"(\Qa.\E)"), HasSubstr("\\Q in a regular expression"));
  EXPECT_THAT(refusal("(*FAIL)|a"), HasSubstr("\"(*\" in a regular expression"));
  EXPECT_THAT(refusal("(?C1)a"), HasSubstr("\"(?C\" in a regular expression"));
  EXPECT_THAT(refusal("(?s)a"), HasSubstr("the option \"s\""));
  EXPECT_THAT(refusal("(?i^:a)"), HasSubstr("the option \"^\""));
  EXPECT_THAT(refusal("[a"), HasSubstr("here: the regular expression \"[a\" is not supported"));
  EXPECT_THAT(refusal("\\"), HasSubstr("not supported"));
  EXPECT_THAT(refusal("[[:alpha"), HasSubstr("without"));
  EXPECT_THAT(refusal(std::string(1000, '(')), HasSubstr("not supported"));
  EXPECT_THAT(refusal(std::string(70'000, 'a')), HasSubstr("70000 bytes"));
}

// Called from a lookahead, \K once gave a match that ended before it began, found again without end.
TEST(Regex, RefusesAMatchThatEndsBeforeItBegins) {
  EXPECT_THAT(message_of<DataError>([] { matches(R"((?=(?1))|(ab\K))", "xabab"); }),
              HasSubstr("here: \\K in a regular expression is not supported"));
}

TEST(Regex, EndsInAnErrorWhenItBacktracksWithoutBound) {
  const auto began = std::chrono::steady_clock::now();
  const std::string text(10'000, 'a');
  EXPECT_THAT(message_of<Error>([&] { matches("(a+)+[bc]", text); }),
              HasSubstr("\"(a+)+[bc]\" cannot be matched"));
  EXPECT_THAT(message_of<Error>([&] { matches("(a|aa)+[bc]", text); }), HasSubstr("cannot be matched"));
  // A stack that grows with the text.
  EXPECT_THAT(message_of<Error>([&] { matches("(?:(a)|b)*[cd]", std::string(4'000'000, 'a')); }),
              HasSubstr("cannot be matched"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
}

// Each match is cheap enough by itself: one run over the rest of the text.
TEST(Regex, EndsInAnErrorWhenAllMatchesTogetherTakeTooLong) {
  EXPECT_THAT(message_of<Error>([] { matches("a*b|a", std::string(1'000'000, 'a')); }),
              HasSubstr("\"a*b|a\" takes too long on a text of 1000000 bytes"));
}

TEST(Regex, FindsItsWayThroughAMillionSpaces) {
  const std::string qwen2 = R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
  EXPECT_EQ(matches(qwen2, std::string(1'000'000, ' ') + "x").size(), 2);
}

TEST(Pattern, OfAStringStandsForItself) {
  RegexMemory memory;
  std::vector<Range> found;
  Pattern::literal("a.").find_all("aaa.a.b", memory, found);
  ASSERT_EQ(found.size(), 2);
  EXPECT_EQ(found[0].begin, 2);
  EXPECT_EQ(found[1].end, 6);
  EXPECT_EQ(replace_matches("aaa.a.b", found, "-", 5), "aa--b");
  EXPECT_THAT(message_of<Error>([&] { replace_matches("aaa.a.b", found, "-", 4); }),
              HasSubstr("makes 5 bytes of 7, at most 4 are allowed"));
}

}  // namespace
}  // namespace sluice::text::internal
