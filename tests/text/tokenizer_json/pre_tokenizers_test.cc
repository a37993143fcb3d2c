#include "text/tokenizer_json/pre_tokenizers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice::text::internal {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Texts = std::vector<std::string>;

Texts cut(const std::string& component, const std::string& text, bool at_start = true) {
  CutMemory memory;
  Pieces pieces{text, {{{0, text.size()}, at_start}}};
  read_pre_tokenizer(Json::parse(component), "here")->apply(pieces, memory);
  Texts out;
  for (const auto& [range, first] : pieces.list) {
    out.push_back(pieces.text.substr(range.begin, range.end - range.begin));
  }
  return out;
}

std::string split(const std::string& pattern, const std::string& behavior, bool invert = false) {
  return Json{
      {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", invert}}
      .dump();
}

TEST(PreTokenizers, SplitKeepsRemovesOrMergesTheMatches) {
  const std::string text = "the-final--countdown";
  EXPECT_THAT(cut(split("-", "Removed"), text), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(cut(split("-", "Isolated"), text), ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(cut(split("-", "MergedWithPrevious"), text), ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(cut(split("-", "MergedWithNext"), text), ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(cut(split("-", "Contiguous"), text), ElementsAre("the", "-", "final", "--", "countdown"));
  EXPECT_THAT(cut(split("[a-z]+", "Removed", /*invert=*/true), text),
              ElementsAre("the", "final", "countdown"));
}

TEST(PreTokenizers, SplitTakesMatchesAtEitherEnd) {
  EXPECT_THAT(cut(split("-", "MergedWithPrevious"), "-a-"), ElementsAre("-", "a-"));
  EXPECT_THAT(cut(split("-", "MergedWithNext"), "-a-"), ElementsAre("-a", "-"));
  EXPECT_THAT(cut(split("-", "Contiguous"), "--a"), ElementsAre("--", "a"));
  EXPECT_THAT(cut(split("-", "Removed"), "--"), ElementsAre());
  EXPECT_THAT(cut(split("x*", "Isolated"), "ab"), ElementsAre("a", "b"));  // matches nothing, at each place
}

TEST(PreTokenizers, ByteLevelCutsAsGpt2AndWritesBytes) {
  const std::string plain = R"({"type": "ByteLevel", "add_prefix_space": false})";
  EXPECT_THAT(cut(plain, "Hello it's  a é1"), ElementsAre("Hello", "Ġit", "'s", "Ġ", "Ġa", "ĠÃ©", "1"));
  EXPECT_THAT(cut(plain, "a \n\n"), ElementsAre("a", "ĠĊĊ"));
  EXPECT_THAT(cut(plain, ""), ElementsAre());

  const std::string prefixed = R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": false})";
  EXPECT_THAT(cut(prefixed, "a b"), ElementsAre("ĠaĠb"));
  EXPECT_THAT(cut(prefixed, " a"), ElementsAre("Ġa"));
}

TEST(PreTokenizers, MetaspaceWritesASignForEachSpace) {
  const auto metaspace = [](const char* scheme, bool whole) {
    return Json{{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", !whole}}
        .dump();
  };
  EXPECT_THAT(cut(metaspace("always", false), "a  b"), ElementsAre("▁a", "▁", "▁b"));
  EXPECT_THAT(cut(metaspace("always", false), " a"), ElementsAre("▁a"));
  EXPECT_THAT(cut(metaspace("never", true), "a b"), ElementsAre("a▁b"));
  EXPECT_THAT(cut(metaspace("first", true), "a b"), ElementsAre("▁a▁b"));
  EXPECT_THAT(cut(metaspace("first", true), "a b", /*at_start=*/false), ElementsAre("a▁b"));
  EXPECT_THAT(cut(R"({"type": "Metaspace", "replacement": "_", "add_prefix_space": false})", "a b"),
              ElementsAre("a", "_b"));
}

TEST(PreTokenizers, CutAtKindsOfCharacters) {
  EXPECT_THAT(cut(R"({"type": "Digits", "individual_digits": true})", "a12²b"),
              ElementsAre("a", "1", "2", "²", "b"));
  EXPECT_THAT(cut(R"({"type": "Digits", "individual_digits": false})", "a12²b"),
              ElementsAre("a", "12²", "b"));
  EXPECT_THAT(cut(R"({"type": "Punctuation"})", "a,b。$"), ElementsAre("a", ",", "b", "。", "$"));
  EXPECT_THAT(cut(R"({"type": "Punctuation", "behavior": "Contiguous"})", "a,!b"),
              ElementsAre("a", ",!", "b"));
  EXPECT_THAT(cut(R"({"type": "WhitespaceSplit"})", " a\u3000b\n"), ElementsAre("a", "b"));
  EXPECT_THAT(cut(R"({"type": "Whitespace"})", "a_1 ?! e\u0301"), ElementsAre("a_1", "?!", "e\u0301"));
}

TEST(PreTokenizers, OfASequenceCutEachOthersPieces) {
  const std::string sequence = R"({"type": "Sequence", "pretokenizers": [
      {"type": "Digits", "individual_digits": true}, {"type": "ByteLevel", "add_prefix_space": false}]})";
  EXPECT_THAT(cut(sequence, "a 12 b"), ElementsAre("a", "Ġ", "1", "2", "Ġb"));
}

TEST(PreTokenizers, ThatAreNotSupportedAreNamed) {
  const auto refusal = [](const std::string& component) {
    return message_of<DataError>([&] { read_pre_tokenizer(Json::parse(component), "file: pre_tokenizer"); });
  };
  EXPECT_THAT(refusal(R"({"type": "UnicodeScripts"})"),
              HasSubstr("type \"UnicodeScripts\" is not supported"));
  EXPECT_THAT(refusal(R"({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Gone", "invert": false})"),
              HasSubstr("behavior: \"Gone\""));
  EXPECT_THAT(refusal(R"({"type": "Metaspace", "replacement": "ab"})"), HasSubstr("one character"));
  EXPECT_THAT(refusal(R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"})"),
              HasSubstr("last"));
  EXPECT_THAT(refusal(R"({"type": "Metaspace", "replacement": "_", "add_prefix_space": false,
                          "prepend_scheme": "first"})"),
              HasSubstr("add_prefix_space is false"));
  EXPECT_THAT(refusal(R"({"type": "Digits"})"), HasSubstr("individual_digits"));
}

}  // namespace
}  // namespace sluice::text::internal
