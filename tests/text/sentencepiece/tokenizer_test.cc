#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "tests/base/temp_folder.h"
#include "tests/text/model_bytes.h"

namespace sluice::text {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<TokenId>;

fs::path shipped(const std::string& name) { return fs::path(SLUICE_SOURCE_DIR) / "data/tokenizers" / name; }

const Tokenizer& llama2() {
  static const auto tokenizer = load_tokenizer(shipped("llama2.model"));
  return *tokenizer;
}

// A folder with the llama2 model and files beside it.
struct LlamaFolder : TempFolder {
  LlamaFolder() { fs::copy_file(shipped("llama2.model"), path() / "tokenizer.model"); }
};

TEST(SentencePiece, GivesThe46EncodingsOfLlama2) {
  std::vector<std::string> texts;
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::string rest = read_file(shipped("llama2.inp"));
  for (size_t at = rest.find(separator); at != std::string::npos; at = rest.find(separator)) {
    texts.push_back(rest.substr(0, at));
    rest.erase(0, at + separator.size());
  }
  texts.push_back(rest);  // empty behind the last separator

  std::istringstream lines(read_file(shipped("llama2.out")));
  size_t line = 0;
  for (std::string expected; std::getline(lines, expected); ++line) {
    ASSERT_LT(line, texts.size());
    std::istringstream numbers(expected);
    const Ids ids(std::istream_iterator<TokenId>(numbers), {});
    EXPECT_EQ(llama2().encode(texts[line], Specials::AsText), ids) << texts[line];
    EXPECT_EQ(llama2().decode(ids), texts[line]);
  }
  EXPECT_EQ(line, 46u);
}

TEST(SentencePiece, KnowsTheSpecialsOfLlama2) {
  EXPECT_EQ(llama2().vocab_size(), 32000);
  EXPECT_EQ(llama2().bos_id(), 1);
  EXPECT_EQ(llama2().eos_id(), 2);
  EXPECT_EQ(llama2().pad_id(), std::nullopt);
  EXPECT_EQ(llama2().find("</s>"), 2);
  EXPECT_EQ(llama2().find("<unk>"), 0);
  EXPECT_EQ(llama2().find("\u2581Hello"), 15043);
  EXPECT_EQ(llama2().find("<0x0A>"), 13);
  EXPECT_EQ(llama2().find("no such piece"), std::nullopt);
  EXPECT_EQ(llama2().find("</s></s>"), std::nullopt);
  EXPECT_EQ(llama2().find(""), std::nullopt);
}

// The numbers of transformers 5.23 for this model, legacy = false.
TEST(SentencePiece, ParsesSpecialsWithoutASpaceBehindThem) {
  EXPECT_THAT(llama2().encode("<s>Hello"), ElementsAre(1, 10994));
  EXPECT_THAT(llama2().encode("<s> Hello"), ElementsAre(1, 15043));
  EXPECT_THAT(llama2().encode("Hello</s>world"), ElementsAre(15043, 2, 11526));
  EXPECT_THAT(llama2().encode("a<unk>b"), ElementsAre(263, 0, 29890));
  EXPECT_THAT(llama2().encode("x<s>"), ElementsAre(921, 1));
  EXPECT_THAT(llama2().encode("</s>"), ElementsAre(2));
  EXPECT_THAT(llama2().encode(""), ElementsAre());
  EXPECT_THAT(llama2().encode("</s>", Specials::AsText), ElementsAre(1533, 29879, 29958));
}

TEST(SentencePiece, PutsASpaceBehindSpecialsWhenTheFolderSaysLegacy) {
  const LlamaFolder folder;
  folder.write("tokenizer_config.json", R"({"legacy": true})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_THAT(tokenizer->encode("<s>Hello"), ElementsAre(1, 15043));
  EXPECT_THAT(tokenizer->encode("Hello</s>world"), ElementsAre(15043, 2, 3186));
  EXPECT_NE(tokenizer->hash(), llama2().hash());
}

TEST(SentencePiece, PutsNoSpaceAnywhereWhenTheFolderSaysSo) {
  const LlamaFolder folder;
  folder.write("tokenizer_config.json", R"({"add_prefix_space": false})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_THAT(tokenizer->encode("Hello"), ElementsAre(10994));
  EXPECT_EQ(tokenizer->decode(Ids{15043}), " Hello");
}

TEST(SentencePiece, AddsBeginAndEndOnlyWhenTheFolderSaysSo) {
  EXPECT_THAT(llama2().with_specials({15043}), ElementsAre(15043));  // as transformers 5.23 for a bare model

  const LlamaFolder folder;
  folder.write("tokenizer_config.json",
               R"({"add_bos_token": true, "add_eos_token": true, "eos_token": {"content": "<unk>"}})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_THAT(tokenizer->with_specials({15043}), ElementsAre(1, 15043, 0));
  EXPECT_EQ(tokenizer->eos_id(), 0);
  EXPECT_EQ(tokenizer->hash(), llama2().hash());  // ids of texts are the same
}

TEST(SentencePiece, DecodesSpecialsToNothingUnlessTheyAreKept) {
  const Ids ids = {1, 15043, 2, 3186, 0};  // <s> Hello </s> world <unk>
  EXPECT_EQ(llama2().decode(ids), "Hello world");
  EXPECT_EQ(llama2().decode(ids, /*keep_specials=*/true), "<s> Hello</s> world<unk>");
  // The bytes of a character stay together across a special token.
  EXPECT_EQ(llama2().decode(Ids{231, 187, 1, 176}), "\u4e2d");
}

TEST(SentencePiece, ReadsTokensThatWereAddedLater) {
  const LlamaFolder folder;
  folder.write("added_tokens.json", R"({"<|im_start|>": 32000, "<|im_end|>": 32001})");
  folder.write("tokenizer_config.json", R"({"eos_token": "<|im_end|>", "added_tokens_decoder": {
    "32001": {"content": "<|im_end|>", "special": true, "rstrip": true},
    "32002": {"content": "<tool>", "special": false}, "32003": {"content": "<tool>call", "special": false}}})");
  const auto tokenizer = load_tokenizer(folder.path());

  EXPECT_EQ(tokenizer->vocab_size(), 32004);
  EXPECT_EQ(tokenizer->eos_id(), 32001);
  EXPECT_EQ(tokenizer->find("<tool>call"), 32003);
  EXPECT_THAT(tokenizer->encode("<|im_start|>Hello<|im_end|> \nworld"),
              ElementsAre(32000, 10994, 32001, 11526));
  EXPECT_THAT(tokenizer->encode("<tool>call<tool>"), ElementsAre(32003, 32002));  // the longest first
  const Ids ids = {32000, 10994, 32002, 15043, 32001};
  EXPECT_EQ(tokenizer->decode(ids), "Hello<tool> Hello");
  EXPECT_EQ(tokenizer->decode(ids, /*keep_specials=*/true), "<|im_start|>Hello<tool> Hello<|im_end|>");
  EXPECT_EQ(tokenizer->decode(Ids{32002, 10994}), "<tool>Hello");
  EXPECT_NE(tokenizer->hash(), llama2().hash());
  for (const TokenId id : tokenizer->encode("<|im_end|><tool>", Specials::AsText)) EXPECT_LT(id, 32000);
  EXPECT_THROW(tokenizer->decode(Ids{32004}), Error);
}

TEST(SentencePiece, NamesTheFileBesideItThatIsMalformed) {
  const LlamaFolder folder;
  const auto refused = [&](const char* file, const char* text) {
    folder.write(file, text);
    const std::string message = message_of<DataError>([&] { load_tokenizer(folder.path()); });
    fs::remove(folder.path() / file);
    return message;
  };
  EXPECT_THAT(refused("added_tokens.json", "{"), HasSubstr("added_tokens.json"));
  EXPECT_THAT(refused("added_tokens.json", "[1]"), HasSubstr("an object is wanted"));
  EXPECT_THAT(refused("added_tokens.json", R"({"<a>": "b"})"), HasSubstr("\"<a>\" has no id"));
  EXPECT_THAT(refused("added_tokens.json", R"({"<a>": -1})"), HasSubstr("has the id -1"));
  EXPECT_THAT(refused("added_tokens.json", R"({"<a>": 9999999})"), HasSubstr("has the id 9999999"));
  EXPECT_THAT(refused("added_tokens.json", R"({"": 32000})"), HasSubstr("is empty"));
  const char* config = "tokenizer_config.json";
  EXPECT_THAT(refused(config, R"({"added_tokens_decoder": {"x": {"content": "a"}}})"), HasSubstr("\"x\""));
  EXPECT_THAT(refused(config, R"({"added_tokens_decoder": {"1": 2}})"), HasSubstr("not an object"));
  EXPECT_THAT(refused(config, R"({"added_tokens_decoder": {"1": {}}})"), HasSubstr("content"));
  EXPECT_THAT(refused(config, R"({"add_bos_token": "yes"})"), HasSubstr("add_bos_token"));
  EXPECT_THAT(refused(config, R"({"bos_token": 1})"), HasSubstr("bos_token"));
}

TEST(SentencePiece, EncodesWithAUnigramAndItsRules) {
  const auto tokenizer = load_tokenizer(shipped("sentencepiece_unigram_1k.model"));
  EXPECT_EQ(tokenizer->vocab_size(), 1000);
  // Full-width letters become plain ones, white space is one space: both are rules of this model.
  EXPECT_EQ(tokenizer->encode("\uff28ello  world"), tokenizer->encode("Hello world"));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("Hello world.")), "Hello world.");
}

TEST(SentencePiece, LeavesUserDefinedPiecesToTheLibrary) {
  const TempFolder folder;
  const auto file = folder.write("sym.model", small_model(piece("<sym>", kUserDefined)));
  const auto tokenizer = load_tokenizer(file);
  EXPECT_THAT(tokenizer->encode("a<sym>b"), ElementsAre(3, 6, 4));
  EXPECT_THAT(tokenizer->encode("a<sym>b", Specials::AsText), ElementsAre(3, 6, 4));
  EXPECT_EQ(tokenizer->decode(Ids{3, 6, 4}), "a<sym>b");
}

// As Gemma's <end_of_turn> is, where there is no tokenizer.json: the library once found it in any text.
TEST(SentencePiece, GivesNoSpecialTokenForTextThoughItIsAPiece) {
  const TempFolder folder;
  folder.write("tokenizer.model", small_model(piece("<end>", kUserDefined) + piece("d><e", kUserDefined) +
                                              piece("<e", kNormal) + piece("nd>", kNormal)));
  folder.write("tokenizer_config.json", R"({"added_tokens_decoder": {
    "6": {"content": "<end>", "special": true}, "7": {"content": "d><e", "special": true}}})");
  const auto tokenizer = load_tokenizer(folder.path());

  EXPECT_THAT(tokenizer->encode("a<end>b"), ElementsAre(3, 6, 4));
  for (const char* text : {"a<end>b", "<end>", "<end><end>", "<<end>end>", "ad><e<end>b"}) {
    const auto ids = tokenizer->encode(text, Specials::AsText);
    EXPECT_THAT(ids, testing::Not(testing::Contains(testing::AnyOf(6, 7)))) << text;
    EXPECT_FALSE(ids.empty());
  }
  EXPECT_THAT(tokenizer->encode("ab", Specials::AsText), ElementsAre(5));
}

}  // namespace
}  // namespace sluice::text
