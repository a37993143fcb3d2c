#include "text/chat_prompts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice::text {
namespace {

using testing::AllOf;
using testing::HasSubstr;

ChatTemplate chat() {
  return ChatTemplate(
      "{% if system %}<{{ system }}>{% endif %}{% for m in messages %}{{ m.role }}:{{ m.content }}|{% endfor "
      "%}"
      "{% if add_generation_prompt %}assistant:{% endif %}",
      Json::object(), "test");
}

Row row_of(const Json& messages) {
  Row row;
  row.messages = messages;
  row.file = "a.jsonl";
  row.line = 7;
  return row;
}

const Json kHello = Json::parse(R"([{"role": "user", "content": "hello"}])");

TEST(ChatPrompts, AreWhatTheTemplateWritesUpToTheAssistantsTurn) {
  auto row = row_of(kHello);
  const auto written = chat();
  render_prompt(row, &written);
  EXPECT_EQ(row.prompt, "user:hello|assistant:");
  row.columns["chat_template_kwargs"] = {{"system", "be short"}};
  row.prompt.clear();
  render_prompt(row, &written);
  EXPECT_EQ(row.prompt, "<be short>user:hello|assistant:");
}

TEST(ChatPrompts, NameTheToolsThereAreUnlessTheRowNamesItsOwn) {
  const ChatTemplate with_tools("{% for t in tools %}[{{ t.name }}]{% endfor %}{{ messages[0].content }}",
                                Json::object(), "test");
  const Json tools = Json::parse(R"([{"name": "calculator"}])");
  auto row = row_of(kHello);
  render_prompt(row, &with_tools, tools);
  EXPECT_EQ(row.prompt, "[calculator]hello");
  row = row_of(kHello);
  row.columns["tools"] = Json::parse(R"([{"name": "search"}])");
  render_prompt(row, &with_tools, tools);
  EXPECT_EQ(row.prompt, "[search]hello");
}

TEST(ChatPrompts, ThatAreTextStayAsTheyAre) {
  auto row = row_of(kHello);
  row.prompt = "User says hello";
  const auto written = chat();
  for (const ChatTemplate* chat : {&written, static_cast<const ChatTemplate*>(nullptr)}) {
    render_prompt(row, chat);
    EXPECT_EQ(row.prompt, "User says hello");
  }
}

TEST(ChatPrompts, AreRefusedByRowWithoutATemplateAndByOne) {
  auto row = row_of(kHello);
  EXPECT_THAT(message_of<DataError>([&] { render_prompt(row, nullptr); }),
              AllOf(HasSubstr("a.jsonl:7"), HasSubstr("no chat template")));
  const ChatTemplate strict("{{ raise_exception('no user') }}", Json::object(), "strict");
  EXPECT_THAT(message_of<DataError>([&] { render_prompt(row, &strict); }),
              AllOf(HasSubstr("a.jsonl:7"), HasSubstr("no user")));
  const ChatTemplate silent("", Json::object(), "silent");
  EXPECT_THAT(message_of<DataError>([&] { render_prompt(row, &silent); }), HasSubstr("writes nothing"));
}

TEST(ChatPrompts, OfRowsAreWrittenWhenTheyAreRead) {
  const TempFolder folder;
  const auto file = folder.write("a.jsonl", R"({"prompt": [{"role": "user", "content": "hello"}]})"
                                            "\n"
                                            R"({"prompt": "plain"})");
  const auto rows = rendered(open_prompts({.path = file}, Split::Train), chat());
  ASSERT_EQ(rows->size(), 2);
  EXPECT_EQ(rows->at(0).prompt, "user:hello|assistant:");
  EXPECT_EQ(rows->at(1).prompt, "plain");
}

}  // namespace
}  // namespace sluice::text
