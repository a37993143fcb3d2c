#include "text/tokenizer_json/json_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "tests/base/temp_folder.h"
#include "tests/text/tiny_tokenizer.h"

namespace sluice::text {
namespace {

using testing::ElementsAre;
using Ids = std::vector<TokenId>;

TEST(JsonTokenizer, MergesTheLowestRankFirstAndTheLeftmostOfEqualOnes) {
  const auto tokenizer = tokenizer_of(bpe_document({"a", "b", "c", "bc", "ab", "aa"}, {"b c", "a b", "a a"}));

  EXPECT_THAT(tokenizer->encode("abc"), ElementsAre(0, 3));  // b c ranks before a b
  EXPECT_THAT(tokenizer->encode("ab"), ElementsAre(4));
  EXPECT_THAT(tokenizer->encode("aaa"), ElementsAre(5, 0));
  EXPECT_EQ(tokenizer->decode(Ids{0, 3}), "a bc");  // without a decoder, tokens are joined with spaces
  EXPECT_TRUE(tokenizer->encode("").empty());
}

TEST(JsonTokenizer, ReadsMergesAsPairsToo) {
  auto document = bpe_document({"a", " ", "a ", "a a"});
  document["model"]["merges"] = Json::parse(R"([["a", " "], ["a ", "a"]])");

  EXPECT_THAT(tokenizer_of(document)->encode("a aa "), ElementsAre(3, 2));
}

TEST(JsonTokenizer, LeavesOutWhatHasNoIdAndNoUnknownToken) {
  EXPECT_THAT(tokenizer_of(bpe_document({"a"}))->encode("xay"), ElementsAre(0));
}

TEST(JsonTokenizer, WritesOneUnknownTokenForEachCharacterOrForARun) {
  auto document = bpe_document({"<unk>", "a"});
  document["model"]["unk_token"] = "<unk>";
  EXPECT_THAT(tokenizer_of(document)->encode("xyax"), ElementsAre(0, 0, 1, 0));

  document["model"]["fuse_unk"] = true;
  const auto tokenizer = tokenizer_of(document);
  EXPECT_THAT(tokenizer->encode("xyax"), ElementsAre(0, 1, 0));
  EXPECT_EQ(tokenizer->decode(Ids{0, 1}), "a");
  EXPECT_EQ(tokenizer->decode(Ids{0, 1}, /*keep_specials=*/true), "<unk> a");
}

TEST(JsonTokenizer, FallsBackToBytesWhenItHasAllOfThem) {
  auto document = bpe_document({"<unk>", "a", "<0xC3>", "<0xA9>", "<0xC2>"});
  document["model"]["unk_token"] = "<unk>";
  document["model"]["byte_fallback"] = true;
  document["decoder"] = {{"type", "ByteFallback"}};
  const auto tokenizer = tokenizer_of(document);

  EXPECT_THAT(tokenizer->encode("aé"), ElementsAre(1, 2, 3));  // C3 A9
  EXPECT_THAT(tokenizer->encode("a¢"), ElementsAre(1, 0));     // C2 A2: there is no A2
  EXPECT_EQ(tokenizer->decode(Ids{1, 2, 3, 1}), "aéa");
  EXPECT_EQ(tokenizer->decode(Ids{2, 1}),
            "\uFFFD"
            "a");
}

TEST(JsonTokenizer, TakesAWholePieceWhenMergesAreToBeIgnored) {
  auto document = bpe_document({"a", "b", "ab"});
  EXPECT_THAT(tokenizer_of(document)->encode("ab"), ElementsAre(0, 1));

  document["model"]["ignore_merges"] = true;
  EXPECT_THAT(tokenizer_of(document)->encode("ab"), ElementsAre(2));
}

TEST(JsonTokenizer, MarksTheEndOfAWordAndWhatContinuesOne) {
  auto document = bpe_document({"a", "b</w>", "ab</w>", "a</w>"}, {"a b</w>"});
  document["model"]["end_of_word_suffix"] = "</w>";
  document["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  document["decoder"] = {{"type", "BPEDecoder"}, {"suffix", "</w>"}};
  const auto suffixed = tokenizer_of(document);
  EXPECT_THAT(suffixed->encode("ab a"), ElementsAre(2, 3));
  EXPECT_EQ(suffixed->decode(Ids{2, 3}), "ab a");

  document = bpe_document({"a", "##b", "ab"}, {"a ##b"});
  document["model"]["continuing_subword_prefix"] = "##";
  EXPECT_THAT(tokenizer_of(document)->encode("abb"), ElementsAre(2, 1));
}

TEST(JsonTokenizer, FindsTheBestCutOfAUnigram) {
  const auto tokenizer = tokenizer_of(
      unigram_document({{"<unk>", 0}, {"a", -1}, {"b", -1}, {"ab", -1.5}, {"abc", -9}, {"c", -1}}));

  EXPECT_THAT(tokenizer->encode("abc"), ElementsAre(3, 5));  // -2.5 against -3 and -9
  EXPECT_THAT(tokenizer->encode("xya"), ElementsAre(0, 1));  // a run of unknown ones is one
  EXPECT_THAT(tokenizer->encode("xax"), ElementsAre(0, 1, 0));
}

TEST(JsonTokenizer, FallsBackToBytesInAUnigram) {
  auto document = unigram_document({{"<unk>", 0}, {"a", -1}, {"<0xC3>", -5}, {"<0xA9>", -5}});
  document["model"]["byte_fallback"] = true;

  EXPECT_THAT(tokenizer_of(document)->encode("éa"), ElementsAre(2, 3, 1));
  EXPECT_THAT(tokenizer_of(document)->encode("ää"), ElementsAre(0));
}

TEST(JsonTokenizer, NamesACharacterThatAUnigramWithoutUnknownTokenLacks) {
  auto document = unigram_document({{"a", -1}});
  document["model"].erase("unk_id");
  const auto tokenizer = tokenizer_of(document);

  EXPECT_THAT(message_of<Error>([&] { tokenizer->encode("ax"); }), testing::HasSubstr("lacks \"x\""));
}

TEST(JsonTokenizer, CutsAtSpacesOnlyWhenNoMergeReachesOverOne) {
  const std::vector<std::string> tokens = {"a", "▁", "▁a", "a▁", "a▁a"};
  EXPECT_THAT(tokenizer_of(bpe_document(tokens, {"▁ a"}))->encode("a▁a"), ElementsAre(0, 2));
  EXPECT_THAT(tokenizer_of(bpe_document(tokens, {"a ▁", "a▁ a"}))->encode("a▁a"), ElementsAre(4));
}

TEST(JsonTokenizer, ReadsBytesThatAreNotUtf8AsReplacementCharacters) {
  const auto tokenizer = tokenizer_of(bpe_document({"a", "\uFFFD"}));

  EXPECT_THAT(tokenizer->encode("a\xff\xe4\xb8"), ElementsAre(0, 1, 1));  // FF, then E4 B8 as one
  EXPECT_THAT(tokenizer->encode("\xf0\x9f\x98"
                                "a\xc0\x80"),
              ElementsAre(1, 0, 1, 1));
  EXPECT_THAT(tokenizer->encode("\xed\xa0\x80"), ElementsAre(1, 1, 1));  // a surrogate
}

TEST(JsonTokenizer, PutsTheTemplateAroundIds) {
  auto document = bpe_document({"a", "<s>", "</s>"});
  document["post_processor"] = Json::parse(R"({"type": "Sequence", "processors": [
      {"type": "ByteLevel"},
      {"type": "TemplateProcessing",
       "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                  {"SpecialToken": {"id": "end", "type_id": 0}}],
       "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                                      "end": {"id": "end", "ids": [2, 2], "tokens": ["</s>", "</s>"]}}}]})");
  EXPECT_THAT(tokenizer_of(document)->with_specials({0}), ElementsAre(1, 0, 2, 2));

  // Where there is a tokenizer.json, transformers goes by it alone.
  const Json config = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"add_bos_token", false}};
  EXPECT_THAT(tokenizer_of(document, config)->with_specials({0}), ElementsAre(1, 0, 2, 2));
}

TEST(JsonTokenizer, NeverLetsTextBecomeASpecialToken) {
  auto document = bpe_document({"<", "s", ">", "<s", "<s>"}, {"< s", "<s >"});
  document["added_tokens"] = Json::array({added_token(4, "<s>", {{"special", true}})});
  const auto tokenizer = tokenizer_of(document);
  EXPECT_THAT(tokenizer->encode("s<s>"), ElementsAre(1, 4));
  EXPECT_THAT(tokenizer->encode("s<s>", Specials::AsText),
              ElementsAre(1, 3, 2));  // though it could be merged

  document["model"]["ignore_merges"] = true;
  EXPECT_THAT(tokenizer_of(document)->encode("<s>", Specials::AsText), ElementsAre(3, 2));

  auto unigram = unigram_document({{"<unk>", 0}, {"<", -2}, {"s", -2}, {">", -2}, {"<s>", 0}});
  unigram["added_tokens"] = Json::array({added_token(4, "<s>", {{"special", true}})});
  EXPECT_THAT(tokenizer_of(unigram)->encode("<s>", Specials::AsText), ElementsAre(1, 2, 3));
}

TEST(JsonTokenizer, RefusesIdsOutOfRange) {
  const auto tokenizer = tokenizer_of(bpe_document({"a", "b"}));
  EXPECT_EQ(tokenizer->vocab_size(), 2);
  EXPECT_THAT(message_of<Error>([&] { tokenizer->decode(Ids{2}); }), testing::HasSubstr("vocabulary of 2"));
  EXPECT_THAT(message_of<Error>([&] { tokenizer->decode(Ids{-1}); }), testing::HasSubstr("-1"));
}

double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text, size_t num_ids) {
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(tokenizer.encode(text).size(), num_ids);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

std::string repeated(const std::string& part, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += part;
  return out;
}

TEST(JsonTokenizer, EncodesAWordOfAMillionLettersInTimeThatGrowsWithItsLength) {
  const auto tokenizer =
      tokenizer_of(bpe_document({"a", "b", "aa", "aaaa", "ab", "abab"}, {"a a", "aa aa", "a b", "ab ab"}));
  for (const auto& [part, letters_per_id] : {std::pair("a", 4), std::pair("ab", 4)}) {
    const size_t letters = std::string(part).size();
    const auto text_of = [&](size_t size) { return repeated(part, size / letters); };
    const auto per_id = static_cast<size_t>(letters_per_id);
    const double half = seconds_to_encode(*tokenizer, text_of(500'000), 500'000 / per_id);
    const double whole = seconds_to_encode(*tokenizer, text_of(1'000'000), 1'000'000 / per_id);
    EXPECT_LT(whole, 8 * half + 0.5);  // quadratic time would be twice the time for each half
    EXPECT_LT(whole, 10);
  }
}

TEST(JsonTokenizer, GivesManyThreadsTheSameIds) {
  const auto tokenizer = load_tokenizer(SLUICE_SOURCE_DIR "/data/tokenizers/minimind");
  const auto text = read_file(SLUICE_SOURCE_DIR "/data/text/botchan.txt").substr(0, 50'000);
  const auto expected = tokenizer->encode(text);
  std::vector<Ids> got(4);
  {
    std::vector<std::jthread> threads;
    for (auto& ids : got) threads.emplace_back([&] { ids = tokenizer->encode(text); });
  }
  for (const auto& ids : got) EXPECT_EQ(ids, expected);
}

TEST(JsonTokenizer, BringsTheShippedTextsBackUnchanged) {
  const auto tokenizer = load_tokenizer(SLUICE_SOURCE_DIR "/data/tokenizers/minimind");
  EXPECT_EQ(tokenizer->vocab_size(), 6400);
  EXPECT_EQ(tokenizer->bos_id(), tokenizer->find("<|im_start|>"));
  EXPECT_EQ(tokenizer->eos_id(), tokenizer->find("<|im_end|>"));
  for (const char* file : {"botchan.txt", "tinyshakespeare.txt"}) {
    const auto text = read_file(std::string(SLUICE_SOURCE_DIR "/data/text/") + file);
    const auto ids = tokenizer->encode(text);
    EXPECT_LT(ids.size(), text.size() / 2);
    EXPECT_TRUE(tokenizer->decode(ids) == text) << file;
  }
}

TEST(JsonTokenizer, SavesItsFilesAsTheyWere) {
  const TempFolder folder;
  const auto tokenizer = load_tokenizer(SLUICE_SOURCE_DIR "/data/tokenizers/minimind");
  tokenizer->save(folder.path());

  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    EXPECT_TRUE(read_file(folder.path() / name) ==
                read_file(std::string(SLUICE_SOURCE_DIR "/data/tokenizers/minimind/") + name));
  }
  EXPECT_EQ(load_tokenizer(folder.path())->hash(), tokenizer->hash());
}

TEST(JsonTokenizer, HasAnotherHashWhenIdsWouldDiffer) {
  auto document = bpe_document({"a", "<s>"});
  const auto hash = tokenizer_of(document)->hash();
  EXPECT_EQ(tokenizer_of(document, {{"chat_template", "x"}})->hash(), hash);  // does not touch ids
  EXPECT_NE(tokenizer_of(document, {{"bos_token", "<s>"}})->hash(), hash);
  document["added_tokens"] = Json::array({added_token(1, "<s>")});
  EXPECT_NE(tokenizer_of(document)->hash(), hash);
}

TEST(LoadTokenizer, ReadsTokenizerJsonBeforeTokenizerModel) {
  const TempFolder folder;
  const auto trained = train_character_tokenizer("to be, or not to be\n");
  trained->save(folder.path());
  ASSERT_TRUE(std::filesystem::exists(folder.path() / "tokenizer.model"));

  const auto loaded = load_tokenizer(folder.path());
  EXPECT_EQ(loaded->hash(), trained->hash());
  EXPECT_EQ(loaded->encode("be to\n"), trained->encode("be to\n"));
  EXPECT_EQ(loaded->encode("<s>é", Specials::AsText), trained->encode("<s>é", Specials::AsText));

  folder.write("tokenizer.json", bpe_document({"t", "o"}).dump());
  EXPECT_THAT(load_tokenizer(folder.path())->encode("to"), ElementsAre(0, 1));
  EXPECT_THAT(load_tokenizer(folder.path() / "tokenizer.json")->encode("to"), ElementsAre(0, 1));
  EXPECT_EQ(load_tokenizer(folder.path() / "tokenizer.model")->vocab_size(), trained->vocab_size());
}

TEST(LoadTokenizer, SaysWhatItLookedFor) {
  const TempFolder folder;
  const auto message = message_of<DataError>([&] { load_tokenizer(folder.path()); });
  EXPECT_THAT(message, testing::HasSubstr("neither tokenizer.json nor tokenizer.model"));
}

}  // namespace
}  // namespace sluice::text
