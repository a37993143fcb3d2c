#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/philox.h"
#include "tests/base/temp_folder.h"
#include "tests/text/model_bytes.h"
#include "tests/text/tiny_tokenizer.h"
#include "text/internal/unicode.h"

namespace sluice::text {
namespace {

using testing::ElementsAre;
using Ids = std::vector<TokenId>;

std::vector<std::string> stream(const Tokenizer& tokenizer, const Ids& ids) {
  StreamingDecoder decoder(tokenizer);
  std::vector<std::string> out;
  for (const TokenId id : ids) out.push_back(decoder.push(id));
  out.push_back(decoder.finish());
  return out;
}

void expect_same_as_whole(const Tokenizer& tokenizer, const Ids& ids) {
  std::string joined;
  std::string repaired;
  for (const auto& part : stream(tokenizer, ids)) {
    EXPECT_EQ(internal::as_utf8(part, repaired).data(), part.data()) << "part of a character";
    joined += part;
  }
  EXPECT_EQ(joined, tokenizer.decode(ids)) << testing::PrintToString(ids);
}

Json byte_level() {
  auto document = bpe_document({"a", "ä", "¸", "Ń", "Ġ", "ÿ", "</s>"});  // E4 B8 AD, a space, FF
  document["decoder"] = {{"type", "ByteLevel"}};
  document["added_tokens"] = Json::array({added_token(6, "</s>", {{"special", true}})});
  return document;
}

Json byte_fallback() {
  auto document = bpe_document({"▁a", "<0xE4>", "<0xB8>", "<0xAD>", "▁", "<0xFF>", "b"});
  document["decoder"] = Json::parse(R"({"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})");
  return document;
}

TEST(StreamingDecoder, HoldsTheBytesOfACharacterUntilItIsWhole) {
  const auto tokenizer = tokenizer_of(byte_level());
  EXPECT_THAT(stream(*tokenizer, {0, 1, 2, 3, 0}), ElementsAre("a", "", "", "中", "a", ""));
  EXPECT_THAT(stream(*tokenizer, {1, 2, 0}), ElementsAre("", "",
                                                         "\uFFFD"
                                                         "a",
                                                         ""));
  EXPECT_THAT(stream(*tokenizer, {0, 1, 2}), ElementsAre("a", "", "", "\uFFFD"));
  EXPECT_THAT(stream(*tokenizer, {1, 6, 2, 6, 3}),
              ElementsAre("", "", "", "", "中", ""));  // specials are nothing
  EXPECT_THAT(stream(*tokenizer, {5, 5, 5}), ElementsAre("", "\uFFFD", "\uFFFD", "\uFFFD"));
}

TEST(StreamingDecoder, HoldsARunOfBytesUntilItHasEnded) {
  const auto tokenizer = tokenizer_of(byte_fallback());
  EXPECT_THAT(stream(*tokenizer, {0, 1, 2, 3, 0}), ElementsAre("a", "", "", "", "中 a", ""));
  EXPECT_THAT(stream(*tokenizer, {1, 2, 3, 5}), ElementsAre("", "", "", "", "\uFFFD\uFFFD\uFFFD\uFFFD"));
  EXPECT_THAT(stream(*tokenizer, {4, 0, 4, 6}), ElementsAre("", " a", " ", "b", ""));
}

// With nothing but such ids left of the window, what is out was once counted as less than nothing.
TEST(StreamingDecoder, KeepsWhatIsIncompleteOverIdsThatAreNoTokens) {
  auto document = byte_level();
  document["model"]["vocab"]["z"] = 9;  // 7 and 8 are holes
  const auto tokenizer = tokenizer_of(document);
  EXPECT_THAT(stream(*tokenizer, {1, 8, 8, 7, 8, 8, 0, 8}), ElementsAre("", "", "", "", "", "",
                                                                        "\uFFFD"
                                                                        "a",
                                                                        "", ""));
  EXPECT_THAT(stream(*tokenizer, {8, 1, 2, 8, 3}), ElementsAre("", "", "", "", "中", ""));
}

// This model drops spaces at the begin: with a space alone as context it dropped the next ones too.
TEST(StreamingDecoder, KeepsSpacesBehindASpace) {
  const TempFolder folder;
  const auto tokenizer = load_tokenizer(folder.write("spaces.model", small_model(piece("▁") + piece("▁a"))));
  EXPECT_THAT(stream(*tokenizer, {4, 6, 7}), ElementsAre("b", " ", " a", ""));
  EXPECT_THAT(stream(*tokenizer, {6, 7, 6}), ElementsAre("", "a", " ", ""));
  for (uint64_t i = 0; i < 200; ++i) {
    Ids ids;
    for (uint64_t k = 0; k < 8; ++k)
      ids.push_back(static_cast<TokenId>(3 + random_bits(5, RandomUse::Data, i, k) % 5));
    expect_same_as_whole(*tokenizer, ids);
  }
}

TEST(StreamingDecoder, MayBeUsedAgain) {
  const auto tokenizer = tokenizer_of(byte_fallback());
  StreamingDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.push(0), "a");
  EXPECT_EQ(decoder.finish(), "");
  EXPECT_EQ(decoder.push(0), "a");  // at the beginning again: without its space
}

TEST(StreamingDecoder, AgreesWithDecodingAllAtOnce) {
  auto metaspace = byte_fallback();
  metaspace["decoder"] = {{"type", "Metaspace"}, {"replacement", "▁"}};
  auto none = byte_fallback();
  none.erase("decoder");
  for (const auto& document : {byte_level(), byte_fallback(), metaspace, none}) {
    const auto tokenizer = tokenizer_of(document);
    for (uint64_t i = 0; i < 500; ++i) {
      Ids ids;
      for (uint64_t k = 0; k < 1 + i % 12; ++k) {
        ids.push_back(static_cast<TokenId>(random_bits(3, RandomUse::Data, i, k) % 7));
      }
      expect_same_as_whole(*tokenizer, ids);
    }
  }
}

TEST(StreamingDecoder, AgreesOnAnyIdsOfTheShippedTokenizer) {
  const auto tokenizer = load_tokenizer(SLUICE_SOURCE_DIR "/data/tokenizers/minimind");
  for (uint64_t i = 0; i < 200; ++i) {
    Ids ids;
    for (uint64_t k = 0; k < 40; ++k) {
      ids.push_back(static_cast<TokenId>(random_bits(4, RandomUse::Data, i, k) % 6400));
    }
    expect_same_as_whole(*tokenizer, ids);
  }
}

TEST(StreamingDecoder, RefusesAnIdThatIsNone) {
  const auto tokenizer = tokenizer_of(byte_level());
  EXPECT_THAT(message_of<Error>([&] { StreamingDecoder(*tokenizer).push(7); }),
              testing::HasSubstr("the id 7"));
}

}  // namespace
}  // namespace sluice::text
