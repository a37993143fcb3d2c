#include "text/preference_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice::text {
namespace {

using enum PreferenceColumns;

std::vector<PreferenceRow> read(const std::string& bytes, PreferenceColumns columns = Pairs) {
  const TempFolder folder;
  return read_preferences(folder.write("a.jsonl", bytes), columns);
}

const Json kHi = {{"role", "user"}, {"content", "hi"}};
Json answer(const char* text) { return {{"role", "assistant"}, {"content", text}}; }

// A conversation of these messages.
template <class... Messages>
Json talk(const Messages&... messages) {
  Json list = Json::array();
  (list.push_back(messages), ...);
  return list;
}

std::string line_of(const Json& prompt, const Json& chosen, const Json& rejected) {
  Json row = {{"chosen", chosen}, {"rejected", rejected}};
  if (!prompt.is_null()) row["prompt"] = prompt;
  return row.dump();
}

TEST(PreferenceRows, ReadsPairsOfText) {
  const TempFolder folder;
  const auto file = folder.write("a.jsonl", "\n" + line_of("1+1=", "2", "3") + "\r\n");
  const auto rows = read_preferences(file, Pairs);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].prompt, "1+1=");
  EXPECT_EQ(rows[0].completions, (std::vector<Json>{"2", "3"}));
  EXPECT_FALSE(rows[0].is_conversation());
  EXPECT_EQ(rows[0].where(), file.string() + ":2");
}

TEST(PreferenceRows, ReadsByHowMuchTheChosenOneIsBetter) {
  const auto rows = read("{\"prompt\": \"1+1=\", \"chosen\": \"2\", \"rejected\": \"3\", \"margin\": 1}\n" +
                             line_of("1+1=", "2", "3"),
                         Pairs);
  EXPECT_EQ(rows.at(0).margin, 1.0);
  EXPECT_EQ(rows.at(1).margin, 0.0);
}

TEST(PreferenceRows, ReadsJudgedCompletions) {
  const auto rows = read(
      "{\"prompt\": \"1+1=\", \"completion\": \"2\", \"label\": true}\n"
      "{\"prompt\": \"1+1=\", \"completion\": \"3\", \"label\": false}",
      Judged);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].completions, (std::vector<Json>{"2"}));
  EXPECT_TRUE(rows[0].desirable);
  EXPECT_FALSE(rows[1].desirable);
}

TEST(PreferenceRows, ReadsConversationsWithWhatTheTemplateIsGiven) {
  Json row = Json::parse(line_of(talk(kHi), talk(answer("yes")), talk(answer("no"))));
  row["tools"] = {"clock"};
  row["chat_template_kwargs"] = {{"mood", "good"}};
  const auto rows = read(row.dump());
  EXPECT_TRUE(rows[0].is_conversation());
  EXPECT_EQ(rows[0].prompt, talk(kHi));
  EXPECT_EQ(rows[0].completions[1], talk(answer("no")));
  EXPECT_EQ(rows[0].chat.tools, Json::array({"clock"}));
  EXPECT_EQ(rows[0].chat.extra["mood"], "good");
}

TEST(PreferenceRows, TakesThePromptFromWhatWholeConversationsBeginWith) {
  for (const Json& prompt : {Json(), Json("hi")}) {
    const auto rows = read(line_of(prompt, talk(kHi, answer("a"), kHi, answer("yes")),
                                   talk(kHi, answer("a"), kHi, answer("no"), kHi, answer("still no"))));
    EXPECT_EQ(rows[0].prompt, talk(kHi, answer("a"), kHi));
    EXPECT_EQ(rows[0].completions[0], talk(answer("yes")));
    EXPECT_EQ(rows[0].completions[1], talk(answer("no"), kHi, answer("still no")));
  }
}

TEST(PreferenceRows, ReadsAnArrayOfShareGptConversations) {
  const auto rows = read(
      "\n [{\"conversations\": [{\"from\": \"system\", \"value\": \"be kind\"}, {\"from\": \"human\", "
      "\"value\": \"hi\"}], \"chosen\": {\"from\": \"gpt\", \"value\": \"yes\"}, \"rejected\": {\"from\": "
      "\"gpt\", \"value\": \"no\"}}]");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].prompt, Json::array({{{"role", "system"}, {"content", "be kind"}}, kHi}));
  EXPECT_THAT(rows[0].completions, testing::ElementsAre(talk(answer("yes")), talk(answer("no"))));
  EXPECT_EQ(rows[0].line, 1);
}

struct BadRow {
  std::string line, part;
  PreferenceColumns columns = Pairs;
};

class BadPreferenceRow : public testing::TestWithParam<BadRow> {};

TEST_P(BadPreferenceRow, IsRefusedByFileAndLine) {
  const std::string good = GetParam().columns == Pairs
                               ? line_of("p", "x", "y")
                               : R"({"prompt": "p", "completion": "x", "label": true})";
  const TempFolder folder;
  const auto file = folder.write("a.jsonl", good + "\n" + GetParam().line + "\n");
  const auto message = message_of<DataError>([&] { read_preferences(file, GetParam().columns); });
  EXPECT_THAT(message, testing::StartsWith(file.string() + ":2: "));
  EXPECT_THAT(message, testing::HasSubstr(GetParam().part));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadPreferenceRow,
    testing::Values(
        BadRow{R"({"prompt": "p", "chosen": "x", "reject": "y"})",
               "no column \"rejected\"; the line has the columns prompt, chosen, reject; did you mean "
               "\"reject\"?"},
        BadRow{R"({"chosen": "x", "rejected": "y"})", "no column \"prompt\""},
        BadRow{R"({"prompt": "p", "completion": "x"})", "true or false", Judged},
        BadRow{R"({"prompt": "p", "completion": "x", "label": 1})", "true or false", Judged},
        BadRow{R"({"prompt": "p", "completion": "", "label": true})", "\"completion\" is empty", Judged},
        BadRow{line_of("", "x", "y"), "\"prompt\" is empty"},
        BadRow{line_of("p", "x", ""), "\"rejected\" is empty"},
        BadRow{R"({"prompt": "p", "chosen": "x", "rejected": "y", "margin": "large"})", "margin"},
        BadRow{line_of("p", "x", "x"), "\"chosen\" and \"rejected\" are the same"},
        BadRow{line_of("p", 1, "x"), "\"chosen\" should be text or messages, saw number"},
        BadRow{line_of(talk(kHi), "x", "y"), "\"chosen\" is text, the prompt is messages"},
        BadRow{line_of(talk(kHi), Json::array(), talk(answer("a"))), "\"chosen\" is empty"},
        BadRow{line_of(talk(kHi), talk("yes"), talk(answer("a"))), "\"chosen\", [0] is no message"},
        BadRow{line_of(talk(kHi), talk(kHi), talk(answer("a"))),
               "should go on with a message of the role \"assistant\""},
        BadRow{line_of(talk(kHi), talk(answer("a")), talk(answer(""))),
               "\"rejected\" is empty: its messages say nothing"},
        BadRow{line_of(nullptr, talk(answer("a")), talk(answer("b"))), "no message in common"},
        BadRow{line_of(nullptr, talk(kHi, answer("a")), talk(kHi)),
               "\"rejected\" is the beginning of the other"},
        BadRow{"[1]", "expected a JSON object, saw array"}, BadRow{"{", "a.jsonl:2"}));

TEST(PreferenceRows, RefusesAFileWithoutRows) {
  for (const char* bytes : {"", "\n \n", "[]"}) {
    EXPECT_THAT(message_of<DataError>([&] { read(bytes); }), testing::HasSubstr("there is no row")) << bytes;
  }
  EXPECT_THAT(message_of<DataError>([&] { read(R"([{"prompt": "p"}, 3])"); }), testing::HasSubstr(":1: "));
  EXPECT_THROW(read_preferences("/nowhere/a.jsonl", Pairs), DataError);
}

}  // namespace
}  // namespace sluice::text
