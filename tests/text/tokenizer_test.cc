#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "tests/base/temp_folder.h"

namespace sluice::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<TokenId>;

std::string shakespeare() { return read_file(SLUICE_SOURCE_DIR "/data/text/tinyshakespeare.txt"); }

void expect_round_trip(const Tokenizer& tokenizer, const std::string& text) {
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

TEST(CharacterTokenizer, GivesIdsByFrequencyAfterTheSpecialsAndTheLineEnd) {
  const auto tokenizer = train_character_tokenizer("cbbaaa");

  EXPECT_EQ(tokenizer->vocab_size(), 8);  // 4 specials, the line end, a, b, c
  EXPECT_THAT(tokenizer->encode("abc\n"), ElementsAre(5, 6, 7, 4));
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->pad_id(), 3);
}

TEST(CharacterTokenizer, BringsAllOfShakespeareBackUnchanged) {
  const auto text = shakespeare();
  const auto tokenizer = train_character_tokenizer(text);

  EXPECT_EQ(tokenizer->vocab_size(), 4 + 65);
  const auto ids = tokenizer->encode(text);
  EXPECT_EQ(ids.size(), text.size());  // all of it is ASCII: a token per byte
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 0), 0);
  EXPECT_TRUE(tokenizer->decode(ids) == text);
}

TEST(CharacterTokenizer, KeepsEveryKindOfWhiteSpaceWhereItIs) {
  const auto tokenizer = train_character_tokenizer(" a\t\r\n\u00a0\u3000b");

  expect_round_trip(*tokenizer, "");
  expect_round_trip(*tokenizer, " ");
  expect_round_trip(*tokenizer, "  a  b  ");
  expect_round_trip(*tokenizer, "\n\n\ta\t\t\r\n \n");
  expect_round_trip(*tokenizer, "\u3000a\u00a0\u00a0");
}

TEST(CharacterTokenizer, LearnsACharacterThatOccursOnceAnywhere) {
  std::string text(100'000, 'x');  // one line, far longer than the trainer's longest sentence
  text.insert(50'000, "\u4e2d");
  text += "\n\u00e9\U0001F600\ufffd\u2585";

  const auto tokenizer = train_character_tokenizer(text);

  EXPECT_EQ(tokenizer->vocab_size(), 4 + 7);
  EXPECT_TRUE(tokenizer->decode(tokenizer->encode(text)) == text);
}

TEST(CharacterTokenizer, MapsWhatItDoesNotKnowToTheUnknownToken) {
  const auto tokenizer = train_character_tokenizer("abs");

  EXPECT_THAT(tokenizer->encode("a\u00e9b"), ElementsAre(5, 0, 6));
  EXPECT_THAT(tokenizer->encode("a\u00e9\u00e8\xff"), ElementsAre(5, 0));  // a run is one token
  EXPECT_EQ(tokenizer->decode(Ids{5, 0, 6}), "ab");
  EXPECT_THAT(tokenizer->encode(std::string("a\0b", 3)), ElementsAre(5, 0, 6));
}

TEST(CharacterTokenizer, ReadsNoSpecialTokenOutOfWhatIsOnlyText) {
  const auto tokenizer = train_character_tokenizer("<s/pad>unk");

  for (const char* text : {"<s>", "</s>", "<pad>", "<unk>", "<s></s><pad>"}) {
    const auto ids = tokenizer->encode(text, Specials::AsText);
    for (const TokenId id : ids) EXPECT_GE(id, 4) << text;
    EXPECT_EQ(tokenizer->decode(ids), text);
  }
  EXPECT_THAT(tokenizer->encode("s</s>"), ElementsAre(tokenizer->find("s").value(), 2));
}

TEST(CharacterTokenizer, DecodesSpecialTokensToNothing) {
  const auto tokenizer = train_character_tokenizer(" a");
  const auto space = tokenizer->encode(" ").front();

  EXPECT_EQ(tokenizer->decode(Ids{1, space, 2, space, 3, 0}), "  ");
  EXPECT_EQ(tokenizer->decode(Ids{}), "");
}

TEST(CharacterTokenizer, RefusesIdsOutOfRange) {
  const auto tokenizer = train_character_tokenizer("ab");

  EXPECT_THAT(message_of<Error>([&] {
                tokenizer->decode(Ids{5, 7});
              }),
              HasSubstr("7 is not in a vocabulary of 7"));
  EXPECT_THROW(tokenizer->decode(Ids{-1}), Error);
}

TEST(CharacterTokenizer, RefusesTextItCannotBringBack) {
  EXPECT_THROW(train_character_tokenizer(""), DataError);
  EXPECT_THROW(train_character_tokenizer("\n\t\n"), DataError);
  EXPECT_THROW(train_character_tokenizer(std::string("a\0b", 3)), DataError);
  EXPECT_THROW(train_character_tokenizer("a\u2581"), DataError);
  EXPECT_THAT(message_of<DataError>([] { train_character_tokenizer("ab\xc3("); }), HasSubstr("byte 2"));
}

TEST(CharacterTokenizer, IsTheSameForTheSameText) {
  const auto text = shakespeare().substr(0, 50'000);

  EXPECT_EQ(train_character_tokenizer(text)->hash(), train_character_tokenizer(text)->hash());
  EXPECT_NE(train_character_tokenizer(text)->hash(), train_character_tokenizer(text + "#")->hash());
}

TEST(CharacterTokenizer, EncodesTheSameFromManyThreads) {
  const auto text = shakespeare().substr(0, 20'000);
  const auto tokenizer = train_character_tokenizer(text);
  const auto expected = tokenizer->encode(text);

  std::vector<Ids> seen(4);
  {
    std::vector<std::jthread> threads;
    for (auto& ids : seen) threads.emplace_back([&] { ids = tokenizer->encode(text); });
  }

  for (const auto& ids : seen) EXPECT_EQ(ids, expected);
}

TEST(SavedTokenizer, ComesBackWithTheSameIdsAndFiles) {
  const TempFolder folder;
  const auto tokenizer = train_character_tokenizer("to be, or not to be\n");
  tokenizer->save(folder.path() / "a");

  const auto loaded = load_tokenizer(folder.path() / "a");
  loaded->save(folder.path() / "b");

  EXPECT_EQ(loaded->hash(), tokenizer->hash());
  EXPECT_EQ(loaded->encode("not  to\n"), tokenizer->encode("not  to\n"));
  for (const char* file :
       {"tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}) {
    EXPECT_EQ(read_file(folder.path() / "a" / file), read_file(folder.path() / "b" / file)) << file;
  }
}

TEST(SavedTokenizer, SaysWhatTransformersNeeds) {
  const TempFolder folder;
  train_character_tokenizer("ab \n")->save(folder.path());

  const Json config = read_json(folder.path() / "tokenizer_config.json");
  EXPECT_EQ(config["tokenizer_class"], "PreTrainedTokenizerFast");
  for (const char* off :
       {"add_bos_token", "add_eos_token", "add_prefix_space", "legacy", "clean_up_tokenization_spaces"}) {
    EXPECT_EQ(config[off], false) << off;
  }
  EXPECT_EQ(config["unk_token"], "<unk>");
  EXPECT_EQ(config["bos_token"], "<s>");
  EXPECT_EQ(config["eos_token"], "</s>");
  EXPECT_EQ(config["pad_token"], "<pad>");
  EXPECT_EQ(read_json(folder.path() / "special_tokens_map.json")["eos_token"], "</s>");

  const Json fast = read_json(folder.path() / "tokenizer.json");
  EXPECT_EQ(fast["model"]["vocab"]["\n"], 4);
  EXPECT_EQ(fast["model"]["vocab"].size(), 8u);
  EXPECT_EQ(fast["decoder"]["decoders"][1]["type"], "Fuse");
}

TEST(SavedTokenizer, NamesTheLlamaClassWhenThereIsOnlyAModel) {
  const TempFolder folder;
  train_character_tokenizer("ab")->save(folder.path());

  load_tokenizer(folder.path() / "tokenizer.model")->save(folder.path() / "copy");

  EXPECT_EQ(read_json(folder.path() / "copy" / "tokenizer_config.json")["tokenizer_class"], "LlamaTokenizer");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "copy" / "tokenizer.json"));
}

TEST(SavedTokenizer, KeepsForeignFilesByteForByte) {
  const TempFolder folder;
  train_character_tokenizer("ab")->save(folder.path());
  folder.write("tokenizer_config.json", "{\"mine\" :1}");
  folder.write("chat_template.jinja", "{{ messages }}");

  load_tokenizer(folder.path())->save(folder.path() / "copy");

  EXPECT_EQ(read_file(folder.path() / "copy" / "tokenizer_config.json"), "{\"mine\" :1}");
  EXPECT_EQ(read_file(folder.path() / "copy" / "chat_template.jinja"), "{{ messages }}");
}

TEST(LoadTokenizer, TakesTheModelFileItself) {
  const TempFolder folder;
  const auto tokenizer = train_character_tokenizer("ab");
  tokenizer->save(folder.path());

  const auto loaded = load_tokenizer(folder.path() / "tokenizer.model");
  EXPECT_EQ(loaded->hash(), sha256_file(folder.path() / "tokenizer.model"));
  EXPECT_EQ(loaded->encode("abba"), tokenizer->encode("abba"));
}

TEST(LoadTokenizer, SaysWhatItLookedFor) {
  const TempFolder folder;

  EXPECT_THAT(message_of<DataError>([&] { load_tokenizer(folder.path()); }),
              HasSubstr("neither tokenizer.json nor tokenizer.model"));
  EXPECT_THAT(message_of<DataError>([&] { load_tokenizer(folder.path() / "gone"); }),
              HasSubstr("no such file"));
}

}  // namespace
}  // namespace sluice::text
