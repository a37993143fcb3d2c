#include "rewards/plugins/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards::plugins {
namespace {

using testing::HasSubstr;

TEST(RewardProtocol, ARequestHoldsEachSampleWhole) {
  Case from;
  from.row.prompt = "1+1=";
  from.row.columns = {{"answer", "2"}};
  from.tokens = {5, 7};
  from.truncated = true;
  auto request = from.request("2\n\xff");
  request.group = 9;

  const auto line = request_line(3, {&request, 1});

  EXPECT_EQ(line,
            "{\"id\":3,\"group\":9,\"samples\":[{\"prompt\":\"1+1=\",\"completion\":\"2\\n\xEF\xBF\xBD\","
            "\"tokens\":[5,7],\"truncated\":true,\"columns\":{\"answer\":\"2\"}}]}");
}

// Quotation marks, control characters, whole characters and parts of some, in every order.
TEST(RewardProtocol, ATextIsWrittenAsTheJsonLibraryWritesIt) {
  const std::vector<std::string> pieces = {
      "a",        "bc ",      "\"",       "\\",       "\n",   "\x01", "\x7f",
      "\xc3\xa9", "\xe2\x82", "\xf0\x9f", "\x98\x80", "\xff", "\xc3", std::string(1, '\0')};
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (auto n = random() % 12; n > 0; --n) text += pieces[random() % pieces.size()];
    Case from;
    from.row.columns = {{text + "!", text}, {"list", Json::array({text, 1.5})}};
    const auto request = from.request(text);

    const Json sample = {{"prompt", ""},
                         {"completion", text},
                         {"tokens", Json::array()},
                         {"truncated", false},
                         {"columns", from.row.columns}};
    const Json whole = {{"id", 1}, {"group", 0}, {"samples", Json::array({sample})}};
    EXPECT_EQ(request_line(1, {&request, 1}), whole.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
}

TEST(RewardProtocol, AConversationComesAsItsMessages) {
  Case from;
  from.row.messages = Json::parse(R"([{"role": "user", "content": "x"}])");
  const auto request = from.request("y");

  EXPECT_EQ(Json::parse(request_line(1, {&request, 1}))["samples"][0]["messages"], from.row.messages);
}

TEST(RewardProtocol, AReplyHasScoresAndMayHaveReasonsAndParts) {
  const auto outcomes = read_reply(
      R"({"id": 4, "scores": [0.5, null, null], "reasons": [null, "no answer", null], "parts": [{"a": 1}, null, null]})",
      4, 3);

  EXPECT_EQ(outcomes[0].score, 0.5);
  EXPECT_EQ(outcomes[0].parts, (std::map<std::string, double>{{"a", 1.0}}));
  EXPECT_EQ(outcomes[1].unscored_reason, "no answer");
  EXPECT_EQ(outcomes[2].unscored_reason, "the worker gave no score");
}

TEST(RewardProtocol, ALongReasonIsCutBetweenTwoCharacters) {
  std::string text;
  while (text.size() < 1000) text += "\xC3\xA9";  // é
  const auto outcomes = read_reply(Json({{"id", 1}, {"error", "x" + text}}).dump(), 1, 1);

  EXPECT_EQ(outcomes[0].unscored_reason, "error: x" + text.substr(0, 498) + "...");
}

TEST(RewardProtocol, AHelloNamesTheProtocolAndTheWorker) {
  EXPECT_EQ(read_hello(R"({"sluice_reward": 1, "name": "judge"})"), "judge");
  EXPECT_EQ(message_of<DataError>([] { read_hello(R"({"sluice_reward": 1, "error": "no model"})"); }),
            "no model");
  EXPECT_THAT(message_of<DataError>([] { read_hello(R"({"sluice_reward": 7, "name": "x"})"); }),
              HasSubstr("speaks protocol 7, this is protocol 1"));
  EXPECT_THROW(read_hello(R"({"name": "x"})"), DataError);
  EXPECT_THROW(read_hello("ready"), DataError);
}

}  // namespace
}  // namespace sluice::rewards::plugins
