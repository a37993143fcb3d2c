#include "text/tokenizer_json/added_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "tests/text/tiny_tokenizer.h"

namespace sluice::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The tokens "a", "b" and " ", and added ones from 3 on.
std::unique_ptr<Tokenizer> with_added(const std::vector<Json>& tokens) {
  auto document = bpe_document({"a", "b", " "});
  document["added_tokens"] = tokens;
  return tokenizer_of(document);
}

TEST(AddedTokens, AreFoundLeftmostAndLongest) {
  const auto tokenizer = with_added({added_token(3, "ab"), added_token(4, "aba"), added_token(5, "bb")});

  EXPECT_THAT(tokenizer->encode("ababb"), ElementsAre(4, 5));
  EXPECT_THAT(tokenizer->encode("abbb"), ElementsAre(3, 5));
  EXPECT_THAT(tokenizer->encode("bab"), ElementsAre(1, 3));
  EXPECT_EQ(tokenizer->find("aba"), 4);
  EXPECT_EQ(tokenizer->vocab_size(), 6);
}

TEST(AddedTokens, TakeTheSpacesBesideThem) {
  EXPECT_THAT(with_added({added_token(3, "x", {{"lstrip", true}})})->encode("a  x  b"),
              ElementsAre(0, 3, 2, 2, 1));
  EXPECT_THAT(with_added({added_token(3, "x", {{"rstrip", true}})})->encode("a  x \u3000 b"),
              ElementsAre(0, 2, 2, 3, 1));
  // The first takes the space, so there is none for the second.
  EXPECT_THAT(with_added({added_token(3, "x", {{"rstrip", true}}), added_token(4, "y", {{"lstrip", true}})})
                  ->encode("x ya"),
              ElementsAre(3, 4, 0));
}

TEST(AddedTokens, AreWordsOfTheirOwnWhenTheySaySo) {
  const auto tokenizer = with_added({added_token(3, "ab", {{"single_word", true}})});

  EXPECT_THAT(tokenizer->encode("ab ab"), ElementsAre(3, 2, 3));
  EXPECT_THAT(tokenizer->encode("aba"), ElementsAre(0, 1, 0));
  EXPECT_THAT(tokenizer->encode("bab"), ElementsAre(1, 0, 1));
}

TEST(AddedTokens, AreFoundBeforeOrAfterNormalizing) {
  auto document = bpe_document({"a", "x"});
  document["normalizer"] = {{"type", "Lowercase"}};
  document["added_tokens"] = Json::array({added_token(2, "A"), added_token(3, "X", {{"normalized", true}})});
  const auto tokenizer = tokenizer_of(document);

  EXPECT_THAT(tokenizer->encode("Aa"), ElementsAre(2, 0));
  EXPECT_THAT(tokenizer->encode("Xx"), ElementsAre(3, 3));
}

TEST(AddedTokens, OfTextAreOnlyTheOnesThatAreNotSpecial) {
  const auto tokenizer = with_added({added_token(3, "ab", {{"special", true}}), added_token(4, "b ")});

  EXPECT_THAT(tokenizer->encode("ab ab "), ElementsAre(3, 2, 3, 2));
  // What was passed over as a special token is not searched again for others.
  EXPECT_THAT(tokenizer->encode("ab b ", Specials::AsText), ElementsAre(0, 1, 2, 4));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{3, 4}), "b ");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{3, 4}, /*keep_specials=*/true), "ab b ");
}

TEST(AddedTokens, MustHaveTheIdsTheyGet) {
  EXPECT_THAT(
      message_of<DataError>([] { with_added({added_token(4, "x")}); }),
      HasSubstr("added_tokens[0]: the added token \"x\" has the id 4, by the order of tokens it is 3"));
  EXPECT_THAT(message_of<DataError>([] { with_added({added_token(1, "a")}); }), HasSubstr("has the id 1"));
  EXPECT_THAT(message_of<DataError>([] { with_added({added_token(3, std::string(2000, 'x'))}); }),
              HasSubstr("an added token of 2000 bytes"));
}

TEST(SpecialTokens, AreNamedByTheConfiguration) {
  const Json config = {
      {"bos_token", "a"},
      {"eos_token", {{"__type", "AddedToken"}, {"content", "</s>"}, {"lstrip", true}}},
      {"pad_token", nullptr},
      {"added_tokens_decoder", {{"2", {{"content", "</s>"}, {"special", true}, {"rstrip", true}}}}}};
  const auto tokenizer = tokenizer_of(bpe_document({"a", " "}), config);

  EXPECT_EQ(tokenizer->bos_id(), 0);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->pad_id(), std::nullopt);
  // The list says more than the name: white space after it belongs to it, before it does not.
  EXPECT_THAT(tokenizer->encode(" </s> a"), ElementsAre(1, 2, 0));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{0, 2, 1}), " ");  // both named ones are special
}

TEST(SpecialTokens, ThatTheVocabularyLacksComeBehindIt) {
  const Json config = {{"pad_token", "<pad>"}, {"bos_token", "<s>"}, {"extra_special_tokens", {"<x>"}}};
  const auto tokenizer = tokenizer_of(bpe_document({"a"}), config);

  EXPECT_EQ(tokenizer->bos_id(), 1);  // begin is named before padding
  EXPECT_EQ(tokenizer->pad_id(), 2);
  EXPECT_EQ(tokenizer->find("<x>"), 3);
}

TEST(SpecialTokens, AreReadFromTheOlderFilesToo) {
  internal::TokenizerFiles files = {
      {"tokenizer.json", bpe_document({"a"}).dump()},
      {"special_tokens_map.json", R"({"eos_token": {"content": "</s>", "lstrip": false}})"},
      {"added_tokens.json", R"({"<x>": 2, "</s>": 1})"},
  };
  const auto tokenizer = internal::make_json_tokenizer(files, "here");

  EXPECT_EQ(tokenizer->eos_id(), 1);
  EXPECT_THAT(tokenizer->encode("a<x></s>"), ElementsAre(0, 2, 1));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{2, 1}), "<x>");
}

TEST(SpecialTokens, OfFilesThatDisagreeAreRefused) {
  const auto refusal = [](const Json& config) {
    return message_of<DataError>([&] { tokenizer_of(bpe_document({"a"}), config); });
  };
  EXPECT_THAT(refusal({{"added_tokens_decoder", {{"7", {{"content", "x"}}}}}}), HasSubstr("has the id 7"));
  EXPECT_THAT(refusal({{"added_tokens_decoder", {{"x", {{"content", "x"}}}}}}), HasSubstr("\"x\" is no id"));
  EXPECT_THAT(refusal({{"bos_token", {{"text", "x"}}}}), HasSubstr("tokenizer_config.json: bos_token"));
  EXPECT_THAT(refusal(Json::array()), HasSubstr("tokenizer_config.json: an object is wanted"));
}

}  // namespace
}  // namespace sluice::text
