#include "base/json.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice {
namespace {

std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  return message_of<DataError>([&] { parse_json(text, "test", limits); });
}

TEST(Json, KeepsTheOrderOfKeys) {
  const std::string text = R"({"z":1,"a":[true,null,-2,0.5,"x\n"],"m":{"b":{},"a":[]}})";
  EXPECT_EQ(parse_json(text, "test").dump(), text);
}

TEST(Json, ReadsScalarsAndBigNumbers) {
  EXPECT_EQ(parse_json("-9223372036854775808", "test").get<int64_t>(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(parse_json("18446744073709551615", "test").get<uint64_t>(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(parse_json(R"("\u00e9\ud83d\ude00")", "test").get<std::string>(), "\xC3\xA9\xF0\x9F\x98\x80");
}

TEST(Json, RefusesWhatIsNotJson) {
  const std::vector<std::string> texts = {"",           " ",
                                          "{",          "[1,]",
                                          "{\"a\":1,}", "{'a':1}",
                                          "[1] [2]",    "[1]x",
                                          "NaN",        "Infinity",
                                          "01",         "1.",
                                          "\"a\nb\"",   "\"\\ud800\"",
                                          "\"\xff\"",   "\"\xc0\xaf\"",
                                          "nul",        "// c\n1",
                                          "{\"a\" 1}",  "{1:2}",
                                          "[1 2]",      "1e999",
                                          "]",          "\"open",
                                          "\"\\x41\"",  std::string("[1\0]", 4)};
  for (const auto& text : texts) {
    EXPECT_TRUE(refusal(text).starts_with("test: not JSON at byte ")) << text << ": " << refusal(text);
  }
}

TEST(Json, NamesTheByteOfTheMistake) {
  EXPECT_TRUE(refusal(R"({"a": 1, b})").starts_with("test: not JSON at byte 10: "))
      << refusal(R"({"a": 1, b})");
}

TEST(Json, RefusesAKeyThatStandsTwice) {
  EXPECT_EQ(refusal(R"({"a":1,"a":2})"), "test: the key \"a\" stands twice, at byte 10");
  EXPECT_NE(refusal(R"([{"x":{"b":1,"c":{},"b":2}}])"), "");
  EXPECT_NE(refusal(R"({"a":1,"\u0061":2})"), "");
  EXPECT_EQ(refusal(R"({"a":{"a":1},"b":{"a":1}})"), "");
}

TEST(Json, RefusesARepeatedKeyInALargeObjectToo) {
  for (const int repeated : {0, 15, 16, 17, 99}) {
    std::string text = "{";
    for (int i = 0; i < 100; ++i) text += "\"k" + std::to_string(i) + "\":0,";
    EXPECT_NE(refusal(text + "\"k" + std::to_string(repeated) + "\":0}"), "") << repeated;
    EXPECT_EQ(refusal(text + "\"new\":0}"), "");
  }
}

// A search of all earlier keys for each would need 2 * 10^10 comparisons here.
TEST(Json, ReadsAVocabularyOfManyKeysInReasonableTime) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i)
    text += (i ? ",\"" : "\"") + std::to_string(i) + "\":" + std::to_string(i);
  EXPECT_EQ(parse_json(text + "}", "test").size(), 200'000u);
}

TEST(Json, RefusesDeepNestingWithoutRecursing) {
  EXPECT_EQ(refusal(std::string(64, '[') + std::string(64, ']')), "");
  EXPECT_EQ(refusal(std::string(65, '[') + std::string(65, ']')),
            "test: JSON nested deeper than 64 levels, at byte 65");
  EXPECT_NE(refusal(std::string(5'000'000, '[')), "");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_NE(refusal(objects), "");
}

TEST(Json, RefusesTooManyBytes) {
  EXPECT_EQ(refusal("[1,2,3]", {.max_bytes = 6}), "test: JSON of 7 bytes, at most 6 are read");
  EXPECT_EQ(refusal("[1,2,3]", {.max_bytes = 7}), "");
}

TEST(Json, KeepsErrorsShortWhateverTheInput) {
  EXPECT_LT(refusal("\"" + std::string(1'000'000, 'x')).size(), 400u);
  const std::string key = "\"" + std::string(1'000'000, 'k') + "\":1";
  EXPECT_LT(refusal("{" + key + "," + key + "}").size(), 400u);
}

TEST(Json, SaysWhatIsNoTextInLetters) {
  try {
    parse_json("{\"hf/\xE4\xFF\": 1}", "manifest");
    FAIL() << "nobody complained";
  } catch (const DataError& error) {
    const std::string said = error.what();
    EXPECT_NE(said.find("hf/"), std::string::npos) << said;
    EXPECT_TRUE(std::ranges::all_of(said, [](unsigned char byte) { return byte < 0x80; })) << said;
  }
}

TEST(Json, ReadsAFileAndNamesIt) {
  const TempFolder folder;
  write_plain(folder / "good.json", R"({"a": 1})");
  write_plain(folder / "bad.json", "{");

  EXPECT_EQ(read_json(folder / "good.json")["a"], 1);
  EXPECT_NE(message_of<DataError>([&] { read_json(folder / "bad.json"); }).find("bad.json"),
            std::string::npos);
  EXPECT_THROW(read_json(folder / "none.json"), DataError);
  EXPECT_THROW(read_json(folder / "good.json", {.max_bytes = 3}), DataError);
}

const Json kObject =
    parse_json(R"({"s": "x", "i": -3, "big": 18446744073709551615, "d": 0.5, "b": true, "n": null,
  "a": [1, 2], "words": ["p", "q"], "mixed": [1, "q"], "o": {"k": 1}, "none": []})",
               "test");

TEST(JsonMember, GivesEachType) {
  EXPECT_EQ(json_member<std::string>(kObject, "s", "test"), "x");
  EXPECT_EQ(json_member<int64_t>(kObject, "i", "test"), -3);
  EXPECT_EQ(json_member<double>(kObject, "d", "test"), 0.5);
  EXPECT_EQ(json_member<double>(kObject, "i", "test"), -3.0);
  EXPECT_EQ(json_member<bool>(kObject, "b", "test"), true);
  EXPECT_EQ(json_member<Json>(kObject, "o", "test").dump(), R"({"k":1})");
  EXPECT_EQ(json_member<Json>(kObject, "mixed", "test").size(), 2u);
  EXPECT_EQ(json_member<std::vector<int64_t>>(kObject, "a", "test"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(json_member<std::vector<double>>(kObject, "a", "test"), (std::vector<double>{1, 2}));
  EXPECT_EQ(json_member<std::vector<std::string>>(kObject, "words", "test"),
            (std::vector<std::string>{"p", "q"}));
  EXPECT_TRUE(json_member<std::vector<int64_t>>(kObject, "none", "test").empty());
}

TEST(JsonMember, NamesWhatIsWrong) {
  const auto message = [](auto call) { return message_of<DataError>(call); };
  EXPECT_EQ(message([] { json_member<int64_t>(kObject, "nope", "f.json"); }),
            "f.json: \"nope\" is missing, an integer is wanted");
  EXPECT_EQ(message([] { json_member<int64_t>(kObject, "d", "f.json"); }),
            "f.json: \"d\" should be an integer, saw number 0.5");
  EXPECT_EQ(message([] { json_member<std::string>(kObject, "a", "f.json"); }),
            "f.json: \"a\" should be a string, saw array");
  EXPECT_EQ(message([] { json_member<int64_t>(Json::array(), "a", "f.json"); }),
            "f.json: an object with \"a\" is wanted, saw array");
}

TEST(JsonMember, ConvertsNothingSilently) {
  EXPECT_THROW(json_member<int64_t>(kObject, "big", "test"), DataError);
  EXPECT_THROW(json_member<int64_t>(kObject, "b", "test"), DataError);
  EXPECT_THROW(json_member<bool>(kObject, "i", "test"), DataError);
  EXPECT_THROW(json_member<double>(kObject, "s", "test"), DataError);
  EXPECT_THROW(json_member<Json>(kObject, "s", "test"), DataError);
  EXPECT_THROW(json_member<std::vector<int64_t>>(kObject, "mixed", "test"), DataError);
  EXPECT_THROW(json_member<std::vector<std::string>>(kObject, "s", "test"), DataError);
}

TEST(JsonMember, FallsBackForMissingAndNullOnly) {
  EXPECT_EQ(json_member_or<int64_t>(kObject, "nope", 7, "test"), 7);
  EXPECT_EQ(json_member_or<int64_t>(kObject, "n", 7, "test"), 7);
  EXPECT_EQ(json_member_or<int64_t>(kObject, "i", 7, "test"), -3);
  EXPECT_THROW(json_member_or<int64_t>(kObject, "s", 7, "test"), DataError);
}

}  // namespace
}  // namespace sluice
