#include "text/jsonl_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::text {
namespace {

using testing::HasSubstr;

std::string name_of(const std::string& line) {
  const auto layout = layout_of(Json::parse(line));
  return layout ? layout_name(*layout) : "unknown";
}

TEST(JsonlLayout, KnowsTheColumnsOfTrlAndVerl) {
  EXPECT_EQ(name_of(R"({"prompt": "a", "answer": "b"})"), "prompts (prompt) with answers (answer)");
  EXPECT_EQ(name_of(R"({"question": "a", "answer": "#### 4"})"), "prompts (question) with answers (answer)");
  EXPECT_EQ(name_of(R"({"data_source": "gsm8k", "prompt": [{"role": "user", "content": "a"}],
                        "reward_model": {"style": "rule", "ground_truth": "4"}, "extra_info": {"index": 1}})"),
            "prompts (prompt) with answers (reward_model.ground_truth)");
  EXPECT_EQ(name_of(R"({"prompt": "a", "completion": "b"})"), "examples (prompt) with completions");
  EXPECT_EQ(name_of(R"({"prompt": "a", "completion": "b", "label": true})"),
            "judged completions (prompt) with label");
  EXPECT_EQ(name_of(R"({"chosen": [], "rejected": []})"), "preferences with chosen and rejected");
  EXPECT_EQ(name_of(R"({"messages": [{"role": "assistant", "content": "b"}]})"), "conversations (messages)");
  EXPECT_EQ(name_of(R"({"messages": [{"role": "user", "content": "b"}]})"), "prompts (messages)");
  EXPECT_EQ(name_of(R"({"text": "a"})"), "plain text");
  EXPECT_EQ(name_of(R"({"id": 3})"), "unknown");
}

struct Bad {
  const char *good, *row, *part;
};
class BadRow : public testing::TestWithParam<Bad> {};

TEST_P(BadRow, SaysWhichColumnIsWrong) {
  const auto layout = layout_of(Json::parse(GetParam().good));
  ASSERT_TRUE(layout);
  EXPECT_EQ(row_problem(Json::parse(GetParam().good), *layout), "");
  EXPECT_THAT(row_problem(Json::parse(GetParam().row), *layout), HasSubstr(GetParam().part));
}

const char* const kAsked = R"({"prompt": "a", "answer": "b"})";
const char* const kPair = R"({"prompt": "a", "chosen": "b", "rejected": "c"})";
const char* const kTalk =
    R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})";
const char* const kVerl =
    R"({"prompt": [{"role": "user", "content": "a"}], "reward_model": {"ground_truth": "4"}})";
INSTANTIATE_TEST_SUITE_P(
    All, BadRow,
    testing::Values(
        Bad{kAsked, R"({"prompt": " ", "answer": "b"})", "\"prompt\" is empty"},
        Bad{kAsked, R"({"answer": "b"})", "no column \"prompt\""},
        Bad{kAsked, R"({"prompt": 3, "answer": "b"})", "should be text or messages, saw number"},
        Bad{kAsked, R"({"prompt": "a"})", "no column \"answer\""},
        Bad{kPair, R"({"prompt": "a", "chosen": "b", "rejected": "b"})", "are the same"},
        Bad{kPair, R"({"prompt": "a", "chosen": "b"})", "no column \"rejected\""},
        Bad{kTalk, R"({"messages": [{"content": "a"}]})", "messages[0] has no \"role\""},
        Bad{kTalk, R"({"messages": [{"role": "user", "content": "a"}]})", "no message of the assistant"},
        Bad{kVerl, R"({"prompt": [{"role": "user", "content": "a"}], "reward_model": {}})",
            "no column \"reward_model.ground_truth\""},
        Bad{kVerl, R"({"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
                                   "reward_model": {"ground_truth": "4"}})",
            "ends with what the assistant says"}));

TEST(JsonlLayout, FindsRowsThatAskTheSame) {
  const RowLayout layout{.prompt = "prompt"};
  EXPECT_EQ(asked_key(Json::parse(R"({"prompt": " What  IS\n2+2? "})"), layout), "what is 2+2?");
}

}  // namespace
}  // namespace sluice::text
