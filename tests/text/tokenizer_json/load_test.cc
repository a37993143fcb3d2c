// What is wrong with a tokenizer.json is said with its place, and nothing in one brings the reader down.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "base/error.h"
#include "base/files.h"
#include "base/philox.h"
#include "tests/base/temp_folder.h"
#include "tests/text/tiny_tokenizer.h"

namespace sluice::text {
namespace {

using testing::HasSubstr;

std::string refusal(const Json& document) {
  return message_of<DataError>([&] { tokenizer_of(document); });
}

// A good document but for one part.
std::string refusal_of(const char* pointer, const Json& value) {
  auto document = bpe_document({"<unk>", "a", "b", "ab"}, {"a b"});
  document[Json::json_pointer(pointer)] = value;
  return refusal(document);
}

TEST(TokenizerJson, SaysWhichPartOfTheModelIsWrong) {
  const Json none;
  EXPECT_THAT(refusal_of("/version", "2.0"),
              HasSubstr("here: tokenizer.json: version \"2.0\" is not supported"));
  EXPECT_THAT(refusal_of("/model", none), HasSubstr("model: it is missing"));
  EXPECT_THAT(refusal_of("/model", 7), HasSubstr("model: an object is wanted, saw number"));
  EXPECT_THAT(refusal_of("/model/type", "WordPiece"),
              HasSubstr("model: type \"WordPiece\" is not supported; those that are: BPE, Unigram"));
  EXPECT_THAT(refusal_of("/model/vocab", none), HasSubstr("model.vocab"));
  EXPECT_THAT(refusal_of("/model/vocab", Json::array({1})), HasSubstr("an object of token and id is wanted"));
  EXPECT_THAT(refusal_of("/model/vocab/a", "1"), HasSubstr("model.vocab[\"a\"]: a number is wanted"));
  EXPECT_THAT(refusal_of("/model/vocab/a", 1.5), HasSubstr("model.vocab[\"a\"]: a number is wanted"));
  EXPECT_THAT(refusal_of("/model/vocab/a", -1), HasSubstr("the id -1 of \"a\""));
  EXPECT_THAT(refusal_of("/model/vocab/a", 1u << 30), HasSubstr("the id 1073741824 of \"a\""));
  EXPECT_THAT(refusal_of("/model/vocab/a", 18446744073709551615u), HasSubstr("of \"a\""));
  EXPECT_THAT(refusal_of("/model/vocab/a", 2), HasSubstr("the id 2 stands for \"a\" and for \"b\""));
  EXPECT_THAT(refusal_of("/model/vocab/a", 9000), HasSubstr("ids up to 9000 for 4 tokens"));
  EXPECT_THAT(refusal_of("/model/unk_token", "?"), HasSubstr("model.unk_token: the vocabulary has no \"?\""));
  EXPECT_THAT(refusal_of("/model/dropout", 0.1), HasSubstr("model.dropout"));
  EXPECT_THAT(refusal_of("/model/fuse_unk", "yes"), HasSubstr("\"fuse_unk\" should be true or false"));
}

TEST(TokenizerJson, SaysWhichMergeIsWrong) {
  const auto refusal_of_merge = [](const Json& merge) {
    return refusal_of("/model/merges", Json::array({"a b", merge}));
  };
  EXPECT_THAT(refusal_of_merge("a x"), HasSubstr("model.merges[1]: the vocabulary has no \"x\""));
  EXPECT_THAT(refusal_of_merge("b a"), HasSubstr("model.merges[1]: the vocabulary has no \"ba\""));
  EXPECT_THAT(refusal_of_merge("ab"), HasSubstr("model.merges[1]: two tokens with a space between"));
  EXPECT_THAT(refusal_of_merge("a b c"), HasSubstr("model.merges[1]: two tokens"));
  EXPECT_THAT(refusal_of_merge(3),
              HasSubstr("model.merges[1]: a string or two of them are wanted, saw number"));
  EXPECT_THAT(refusal_of_merge(Json::array({"a"})), HasSubstr("model.merges[1]: two strings are wanted"));
  EXPECT_THAT(refusal_of_merge(Json::array({"a", 1})), HasSubstr("model.merges[1]: two strings are wanted"));
  EXPECT_THAT(refusal_of("/model/merges", "a b"), HasSubstr("model.merges: an array"));
  EXPECT_THAT(refusal_of("/model/continuing_subword_prefix", "##"),
              HasSubstr("model.merges[0]: \"b\" does not begin with \"##\""));
}

TEST(TokenizerJson, SaysWhatOfAUnigramIsWrong) {
  const auto refusal_of_unigram = [](const char* pointer, const Json& value) {
    auto document = unigram_document({{"<unk>", 0}, {"a", -1}});
    document[Json::json_pointer(pointer)] = value;
    return refusal(document);
  };
  EXPECT_THAT(refusal_of_unigram("/model/vocab", Json::array()), HasSubstr("model.vocab"));
  EXPECT_THAT(refusal_of_unigram("/model/vocab/1", "a"), HasSubstr("model.vocab[1]: a token and its score"));
  EXPECT_THAT(refusal_of_unigram("/model/vocab/1/1", "a"),
              HasSubstr("model.vocab[1]: a token and its score"));
  EXPECT_THAT(refusal_of_unigram("/model/unk_id", 2), HasSubstr("model.unk_id: 2 in a vocabulary of 2"));
  EXPECT_THAT(refusal_of_unigram("/model/unk_id", -7), HasSubstr("model.unk_id: -7"));
}

TEST(TokenizerJson, SaysWhatElseIsWrong) {
  EXPECT_THAT(refusal_of("/added_tokens", 3), HasSubstr("added_tokens: a list is wanted, saw number"));
  EXPECT_THAT(refusal_of("/added_tokens", Json::array({3})), HasSubstr("added_tokens[0]"));
  EXPECT_THAT(refusal_of("/added_tokens", Json::parse(R"([{"id": 4}])")),
              HasSubstr("\"content\" is missing"));
  EXPECT_THAT(refusal_of("/added_tokens", Json::parse(R"([{"content": "x"}])")),
              HasSubstr("\"id\" is missing"));
  EXPECT_THAT(refusal_of("/post_processor", {{"type", "RobertaProcessing"}}),
              HasSubstr("post_processor: type \"RobertaProcessing\" is not supported"));
  const auto refusal_of_template = [](const char* single) {
    return refusal_of("/post_processor", {{"type", "TemplateProcessing"},
                                          {"single", Json::parse(single)},
                                          {"special_tokens", {{"<s>", {{"ids", {99}}}}}}});
  };
  EXPECT_THAT(refusal_of_template("[]"), HasSubstr("a template without the text"));
  EXPECT_THAT(refusal_of_template(R"([{"Sequence": {"id": "B"}}])"), HasSubstr("the text A once"));
  EXPECT_THAT(refusal_of_template(R"([{"Sequence": {"id": "A"}}, {"Sequence": {"id": "A"}}])"),
              HasSubstr("once"));
  EXPECT_THAT(refusal_of_template(R"([{"SpecialToken": {"id": "<x>"}}])"), HasSubstr("special_tokens.<x>"));
  EXPECT_THAT(refusal_of_template(R"([{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}])"),
              HasSubstr("the id 99 is not in a vocabulary of 4"));
}

// Once as many ids as the file has names, times the ids of one: 10^11.
TEST(TokenizerJson, PutsFewIdsAroundAText) {
  const auto refusal_of_ids = [](size_t num_ids, size_t num_pieces) {
    std::vector<Json> single(num_pieces, {{"SpecialToken", {{"id", "a"}}}});
    single.push_back({{"Sequence", {{"id", "A"}}}});
    const Json ids = {{"a", {{"ids", std::vector<int>(num_ids, 1)}}}};
    return refusal_of("/post_processor",
                      {{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", ids}});
  };
  EXPECT_EQ(refusal_of_ids(32, 2), "");
  EXPECT_THAT(refusal_of_ids(33, 2), HasSubstr("post_processor.single: 66 ids around a text, at most 64"));
  EXPECT_THAT(refusal_of_ids(0, 65), HasSubstr("post_processor.single: 66 pieces, at most 65"));
}

// Such a file was once read for ever: the match began after it ended.
TEST(TokenizerJson, RefusesAnExpressionWhoseMatchEndsBeforeItBegins) {
  EXPECT_THAT(
      refusal_of("/normalizer",
                 {{"type", "Replace"}, {"pattern", {{"Regex", R"((?=(?1))|(ab\K))"}}}, {"content", "b"}}),
      HasSubstr("normalizer.pattern: \\K in a regular expression is not supported"));
}

// Its normal form went into the trie however long it was.
TEST(TokenizerJson, RefusesAnAddedTokenWhoseNormalFormIsTooLong) {
  auto document = bpe_document({"a"});
  const Json twice = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  document["added_tokens"] = Json::array({added_token(1, "aaa", {{"normalized", true}})});
  document["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::vector<Json>(9, twice)}};
  EXPECT_THAT(refusal(document), HasSubstr("the added token \"aaa\" has a normal form of 1536 bytes"));

  document["normalizer"]["normalizers"] = std::vector<Json>(40, twice);
  EXPECT_THAT(message_of<Error>([&] { tokenizer_of(document); }), HasSubstr("bytes of 49152, at most 65584"));
}

TEST(TokenizerJson, QuotesTheBeginOfALongTokenOnly) {
  const std::string said = refusal_of("/model/merges", Json::array({"a " + std::string(1'000'000, 'x')}));
  EXPECT_THAT(said, HasSubstr("the vocabulary has no \"xxx"));
  EXPECT_LT(said.size(), 400u);
}

TEST(TokenizerJson, RefusesALongTokenOfAUnigram) {
  EXPECT_THAT(refusal(unigram_document({{"<unk>", 0}, {std::string(1025, 'a'), -1}})),
              HasSubstr("model.vocab[1]: a token of 1025 bytes, at most 1024 are taken"));
}

TEST(TokenizerJson, IsNotAnyFile) {
  const auto refusal_of_bytes = [](const std::string& bytes) {
    return message_of<DataError>([&] { internal::make_json_tokenizer({{"tokenizer.json", bytes}}, "here"); });
  };
  EXPECT_THAT(refusal_of_bytes(""), HasSubstr("here: tokenizer.json: not JSON"));
  EXPECT_THAT(refusal_of_bytes("[]"), HasSubstr("an object is wanted"));
  EXPECT_THAT(refusal_of_bytes("{}"), HasSubstr("model: it is missing"));
  EXPECT_THAT(refusal_of_bytes(R"({"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}}})"),
              HasSubstr("twice"));
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_THAT(refusal_of_bytes(R"({"normalizer": )" + deep + "}"), HasSubstr("nested deeper"));
}

// The file may be read or refused, but in no other way and not for long.
void expect_survives(const std::string& bytes) {
  const auto began = std::chrono::steady_clock::now();
  try {
    const auto tokenizer = internal::make_json_tokenizer({{"tokenizer.json", bytes}}, "here");
    tokenizer->decode(tokenizer->encode("to be <s> 12 \xff\u00e9"));
    tokenizer->encode("to be <s>", Specials::AsText);
  } catch (const Error&) {
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5)) << bytes;
}

TEST(TokenizerJson, SurvivesDamage) {
  auto document = bpe_document({"<unk>", "<s>", "t", "o", "Ġ", "b", "e", "to", "<0xFF>"}, {"t o"});
  document["model"]["unk_token"] = "<unk>";
  document["added_tokens"] = Json::array({added_token(1, "<s>", {{"special", true}, {"lstrip", true}})});
  document["normalizer"] = Json::parse(R"({"type": "Sequence", "normalizers": [{"type": "NFC"},
      {"type": "Replace", "pattern": {"Regex": "a{2,}"}, "content": "b"}]})");
  document["pre_tokenizer"] = Json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "\\s+(?!\\S)|\\p{N}"}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": true, "use_regex": true}]})");
  document["decoder"] = {{"type", "ByteLevel"}};
  const std::string good = document.dump();
  expect_survives(good);
  for (size_t size = 0; size < good.size(); size += 11) expect_survives(good.substr(0, size));
  for (uint64_t i = 0; i < 1000; ++i) {
    std::string damaged = good;
    for (uint64_t k = 0; k < 1 + i % 3; ++k) {
      const uint64_t bits = random_bits(11, RandomUse::Data, i, k);
      damaged[bits % good.size()] = static_cast<char>(bits >> 40);
    }
    expect_survives(damaged);
  }
}

// Every member of every object of a real file, one after another, made something else; of tokens each
// twentieth.
TEST(TokenizerJson, SurvivesMembersOfAnotherType) {
  const auto file = Json::parse(read_file(SLUICE_SOURCE_DIR "/data/tokenizers/minimind/tokenizer.json"));
  auto small = file;
  auto tokens = Json::object();
  for (const auto& [token, id] : file["model"]["vocab"].items()) {
    if (id < 300) tokens[token] = id;
  }
  small["model"]["vocab"] = tokens;
  small["model"]["merges"] = Json::array({file["model"]["merges"][0]});
  const auto flat = small.flatten();
  int tokens_seen = 0;
  for (const auto& [pointer, value] : flat.items()) {
    if (pointer.starts_with("/model/vocab") && tokens_seen++ % 20 != 0) continue;
    for (const Json& other :
         {Json(nullptr), Json(-1), Json("x"), Json::array(), Json::object(), Json(1e300)}) {
      auto damaged = small;
      damaged[Json::json_pointer(pointer)] = other;
      expect_survives(damaged.dump());
    }
  }
}

}  // namespace
}  // namespace sluice::text
