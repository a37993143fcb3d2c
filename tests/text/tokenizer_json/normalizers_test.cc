#include "text/tokenizer_json/normalizers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice::text::internal {
namespace {

using testing::HasSubstr;

NormalText normal(const std::string& component, const std::string& text) {
  RegexMemory memory;
  NormalText out{text, true};
  read_normalizer(Json::parse(component), "here")->apply(out, memory);
  return out;
}

std::string normalized(const std::string& component, const std::string& text) {
  return normal(component, text).text;
}

TEST(Normalizers, ComposeAndDecompose) {
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "cafe\u0301 \u1112\u1161\u11ab x"), "caf\u00e9 \ud55c x");
  EXPECT_EQ(normalized(R"({"type": "NFD"})", "\u00e9\ud55c"), "e\u0301\u1112\u1161\u11ab");
  EXPECT_EQ(normalized(R"({"type": "NFKC"})", "\ufb01 \u00b2\u2168\uff21"), "fi 2IXA");
  EXPECT_EQ(normalized(R"({"type": "NFKD"})", "\u1e9b\u0323"), "s\u0323\u0307");
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "plain"), "plain");
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "\u0301a"), "\u0301a");
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "a\u0301\u0301a\u0301"), "\u00e1\u0301\u00e1");
}

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(Normalizers, OrderMarksByTheirClassAndOtherwiseAsTheyCame) {
  // Above is class 230, below 220.
  EXPECT_EQ(normalized(R"({"type": "NFD"})", "q\u0301\u0323\u0300\u0324"), "q\u0323\u0324\u0301\u0300");
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "a\u0301\u0323"), "\u1ea1\u0301");
  EXPECT_EQ(normalized(R"({"type": "NFKD"})", "\ufdfa"),
            "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064a\u0647 "
            "\u0648\u0633\u0644\u0645");
}

// Once n^2 swaps of neighbours: minutes for this text.
TEST(Normalizers, OrderAHundredThousandMarksInTime) {
  constexpr int kTimes = 50'000;
  const std::string text = "q" + repeated("\u0301\u0323", kTimes);
  const auto began = std::chrono::steady_clock::now();

  const std::string ordered = "q" + repeated("\u0323", kTimes) + repeated("\u0301", kTimes);
  for (const char* form : {"NFC", "NFD", "NFKC", "NFKD"}) {
    EXPECT_EQ(normalized(Json{{"type", form}}.dump(), text), ordered) << form;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
}

// Forty of them would make 2^40 bytes of one.
TEST(Normalizers, RefuseATextThatGrowsWithoutBound) {
  const auto refusal = [](const Json& part) {
    const Json sequence = {{"type", "Sequence"}, {"normalizers", std::vector<Json>(40, part)}};
    return message_of<Error>([&] { normalized(sequence.dump(), "a\u00e9"); });
  };
  // Of 3 bytes may become 65536 + 16 * 3.
  EXPECT_THAT(refusal({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}}),
              HasSubstr("makes 131074 bytes of 65538, at most 65584 are allowed"));
  EXPECT_THAT(refusal({{"type", "Prepend"}, {"prepend", std::string(9000, 'a')}}),
              HasSubstr("normalized to 72003 bytes, at most 65584 are allowed"));
  EXPECT_THAT(refusal({{"type", "ByteLevel"}}), HasSubstr("at most 65584 are allowed"));
}

TEST(Normalizers, ReplaceStringsAndExpressions) {
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"String": "aa"}, "content": "b"})", "aaaxaa"),
            "baxb");
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"String": "."}, "content": ""})", "a.b"), "ab");
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"})", "a   b c"),
            "a▁b c");
}

TEST(Normalizers, PrependOnlyToText) {
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "▁"})", "a"), "▁a");
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "▁"})", ""), "");
}

TEST(Normalizers, StripEitherSide) {
  const std::string left = R"({"type": "Strip", "strip_left": true, "strip_right": false})";
  const std::string right = R"({"type": "Strip", "strip_left": false, "strip_right": true})";
  EXPECT_EQ(normalized(left, " \u3000a "), "a ");
  EXPECT_EQ(normalized(right, " a \n\u00a0"), " a");
  EXPECT_EQ(normalized(left, "  "), "");
  EXPECT_EQ(normalized(right, "  "), "");
}

TEST(Normalizers, LowerAndTakeAccentsAway) {
  EXPECT_EQ(normalized(R"({"type": "Lowercase"})", "AÉΣ\u0130"), "aéσi\u0307");
  EXPECT_EQ(normalized(R"({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]})",
                       "Ångström"),
            "Angstrom");
}

TEST(Normalizers, WriteBytesInTheirAlphabet) {
  EXPECT_EQ(normalized(R"({"type": "ByteLevel"})", "a é\n"), "aĠÃ©Ċ");
}

TEST(Normalizers, KnowWhetherTheTextStillBeginsWhereItDid) {
  EXPECT_TRUE(normal(R"({"type": "Prepend", "prepend": "▁"})", "a").at_start);
  EXPECT_FALSE(normal(R"({"type": "Strip", "strip_left": true, "strip_right": true})", " a").at_start);
  const std::string replace = R"({"type": "Replace", "pattern": {"Regex": " +"}, "content": "▁"})";
  EXPECT_TRUE(normal(replace, " a").at_start);
  EXPECT_FALSE(normal(replace, "  a").at_start);  // it stands for the last of the spaces
}

TEST(Normalizers, ThatAreNotSupportedAreNamed) {
  const auto refusal = [](const std::string& component) {
    return message_of<DataError>([&] { read_normalizer(Json::parse(component), "file: normalizer"); });
  };
  EXPECT_THAT(refusal(R"({"type": "Precompiled", "precompiled_charsmap": "AA"})"),
              HasSubstr("file: normalizer: type \"Precompiled\" is not supported; those that are: NFC, NFD"));
  EXPECT_THAT(refusal(R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Foo"}]})"),
              HasSubstr("file: normalizer.normalizers[1]: type \"Foo\""));
  EXPECT_THAT(refusal(R"({"type": "Sequence", "normalizers": 3})"), HasSubstr("normalizers: an array"));
  EXPECT_THAT(refusal(R"({"type": "Replace", "pattern": {"String": ""}, "content": "x"})"),
              HasSubstr("empty"));
  EXPECT_THAT(
      refusal(R"({"type": "Replace", "pattern": {"Regex": "("}, "content": "x"})"),
      HasSubstr("normalizer.pattern: the regular expression \"(\" is not supported: missing closing"));
  EXPECT_THAT(refusal(R"({"type": "Prepend"})"), HasSubstr("\"prepend\" is missing"));
  EXPECT_THAT(refusal(R"([1])"), HasSubstr("saw array"));
}

}  // namespace
}  // namespace sluice::text::internal
