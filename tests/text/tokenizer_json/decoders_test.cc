#include "text/tokenizer_json/decoders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice::text::internal {
namespace {

using testing::HasSubstr;

std::string decoded(const std::string& component, std::vector<std::string> tokens) {
  RegexMemory memory;
  read_decoder(Json::parse(component), "here")->apply(tokens, memory);
  std::string out;
  for (const auto& token : tokens) out += token;
  return out;
}

TEST(Decoders, ByteLevelReadsTheAlphabet) {
  const std::string byte_level = R"({"type": "ByteLevel"})";
  EXPECT_EQ(decoded(byte_level, {"aĠ", "Ã", "©"}), "a é");
  EXPECT_EQ(decoded(byte_level, {"äĸ", "x"}), "\uFFFDx");  // two bytes of three are one sign
  EXPECT_EQ(decoded(byte_level, {"<|中|>"}), "<|中|>");    // no byte-level token: itself
  EXPECT_EQ(decoded(byte_level, {}), "");
}

TEST(Decoders, ByteFallbackJoinsARunOfBytes) {
  const std::string fallback = R"({"type": "ByteFallback"})";
  EXPECT_EQ(decoded(fallback, {"<0xE4>", "<0xB8>", "<0xAD>", "a"}), "中a");
  EXPECT_EQ(decoded(fallback, {"<0xE4>", "<0xB8>", "a"}),
            "\uFFFD\uFFFD"
            "a");
  EXPECT_EQ(decoded(fallback, {"<0x61>", "<0xFF>"}), "\uFFFD\uFFFD");  // one that fits nowhere spoils the run
  EXPECT_EQ(decoded(fallback, {"<0xZZ>", "<0x6>"}), "<0xZZ><0x6>");
}

TEST(Decoders, MetaspaceHasNoSpaceBeforeTheFirstWord) {
  const auto metaspace = [](const char* scheme) {
    return Json{{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}}.dump();
  };
  EXPECT_EQ(decoded(metaspace("always"), {"▁a", "▁b▁", "c"}), "a b c");
  EXPECT_EQ(decoded(metaspace("never"), {"▁a", "▁b"}), " a b");
}

TEST(Decoders, StripTakesSoManyCharactersOfAnEnd) {
  EXPECT_EQ(decoded(R"({"type": "Strip", "content": " ", "start": 1, "stop": 0})", {"  a ", " b"}), " a b");
  EXPECT_EQ(decoded(R"({"type": "Strip", "content": "x", "start": 0, "stop": 2})", {"axxx", "x"}), "ax");
}

TEST(Decoders, BpeDecoderPutsSpacesBetweenWords) {
  EXPECT_EQ(decoded(R"({"type": "BPEDecoder", "suffix": "</w>"})", {"a", "b</w>", "c</w>"}), "ab c");
}

TEST(Decoders, WorkInSequence) {
  const std::string llama2 = R"({"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";
  EXPECT_EQ(decoded(llama2, {"▁a", "▁▁b", "<0x0A>", "▁"}), "a  b\n ");
}

// Forty of them would make 2^40 bytes of one.
TEST(Decoders, RefuseATextThatGrowsWithoutBound) {
  const auto refusal = [](int times, const std::string& content) {
    const Json part = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", content}};
    const std::vector<Json> parts(static_cast<size_t>(times), part);
    const Json sequence = {{"type", "Sequence"}, {"decoders", parts}};
    return message_of<Error>([&] { decoded(sequence.dump(), {"a", "x"}); });
  };
  // Of 2 bytes may become 65536 + 16 * 2.
  EXPECT_THAT(refusal(40, "aa"), HasSubstr("decoded to 131073 bytes, at most 65568 are allowed"));
  EXPECT_THAT(refusal(1, std::string(70'000, 'a')), HasSubstr("makes 70000 bytes of 1, at most 65568"));
  EXPECT_EQ(refusal(16, "aa"), "");
}

TEST(Decoders, ThatAreNotSupportedAreNamed) {
  const auto refusal = [](const std::string& component) {
    return message_of<DataError>([&] { read_decoder(Json::parse(component), "file: decoder"); });
  };
  EXPECT_THAT(refusal(R"({"type": "WordPiece"})"),
              HasSubstr("file: decoder: type \"WordPiece\" is not supported"));
  EXPECT_THAT(refusal(R"({"type": "Strip", "content": "", "start": 0, "stop": 0})"),
              HasSubstr("one character"));
  EXPECT_THAT(refusal(R"({"type": "BPEDecoder", "suffix": ""})"), HasSubstr("suffix: empty"));
}

}  // namespace
}  // namespace sluice::text::internal
