#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "text/chat_template.h"

namespace sluice::text {
namespace {

const Json kMessages = Json::array({{{"role", "user"}, {"content", "Hi"}}});

std::string rendered(const TempFolder& folder) {
  const auto chat = load_chat_template(folder.path());
  return chat ? chat->render(kMessages).text : "no template";
}

TEST(LoadChatTemplate, TakesTheFileBeforeTheConfiguration) {
  const TempFolder folder;
  EXPECT_EQ(rendered(folder), "no template");
  folder.write("tokenizer_config.json", R"({"bos_token": "<s>", "chat_template": "config {{ bos_token }}"})");
  EXPECT_EQ(rendered(folder), "config <s>");
  folder.write("chat_template.jinja", "file {{ bos_token }}\n");
  EXPECT_EQ(rendered(folder), "file <s>");
}

TEST(LoadChatTemplate, TakesTheDefaultOfAList) {
  const TempFolder folder;
  folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "r"},
                                            {"name": "default", "template": "d"}]})");
  EXPECT_EQ(rendered(folder), "d");
  const auto file =
      folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "r"}]})");
  EXPECT_EQ(message_of<DataError>([&] { rendered(folder); }),
            file.string() + ": none of the chat templates is named \"default\", saw rag");
}

TEST(LoadChatTemplate, TakesTheOneForToolsWhenThereAreTools) {
  const TempFolder folder;
  folder.write("tokenizer_config.json",
               R"({"bos_token": "<s>", "chat_template": [{"name": "default", "template": "d"},
                   {"name": "tool_use", "template": "{{ bos_token }} {{ tools | length }}"}]})");
  const auto chat = load_chat_template(folder.path());
  EXPECT_EQ(chat->render(kMessages).text, "d");
  EXPECT_EQ(chat->render(kMessages, {.tools = Json::array({{{"name", "f"}}})}).text, "<s> 1");
  EXPECT_EQ(chat->render(kMessages, {.tools = Json::array()}).text, "<s> 0");
}

TEST(LoadChatTemplate, KnowsSpecialTokensAsTextAndAsObjects) {
  const TempFolder folder;
  folder.write("chat_template.jinja", "{{ bos_token }} {{ eos_token }} {{ image_token }} {{ unk_token }}|");
  folder.write("tokenizer_config.json",
               R"({"bos_token": {"content": "<b>", "lstrip": false}, "eos_token": "<e>",
                "unk_token": null, "add_bos_token": true, "extra_special_tokens": {"image_token": "<i>"}})");
  EXPECT_EQ(rendered(folder), "<b> <e> <i> |");
}

// As in transformers: special_tokens_map.json fills gaps, and counts for more where no added tokens are
// listed.
TEST(LoadChatTemplate, ReadsTheOlderMapOfSpecialTokens) {
  const TempFolder folder;
  folder.write("chat_template.jinja", "{{ bos_token }} {{ eos_token }}");
  folder.write("special_tokens_map.json", R"({"bos_token": "<m>", "eos_token": {"content": "</m>"}})");
  EXPECT_EQ(rendered(folder), "<m> </m>");
  folder.write("tokenizer_config.json", R"({"bos_token": "<c>"})");
  EXPECT_EQ(rendered(folder), "<m> </m>");
  folder.write("tokenizer_config.json", R"({"bos_token": "<c>", "added_tokens_decoder": {}})");
  EXPECT_EQ(rendered(folder), "<c> </m>");
}

TEST(LoadChatTemplate, NamesTheFileThatIsWrong) {
  const TempFolder folder;
  const auto file = folder.write("chat_template.jinja", "one\n{% frob %}");
  EXPECT_EQ(message_of<DataError>([&] { rendered(folder); }),
            file.string() + ":2: the tag 'frob' is not known here");
  std::filesystem::remove(file);
  const auto config = folder.write("tokenizer_config.json", R"({"chat_template": "{{ 1 +"})");
  EXPECT_EQ(message_of<DataError>([&] { rendered(folder); }),
            config.string() + " (chat_template):1: an expression is wanted, saw the end of the template");
  folder.write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_EQ(message_of<DataError>([&] { rendered(folder); }),
            config.string() + ": \"chat_template\" should be a string or an array, saw number");
  folder.write("tokenizer_config.json", R"([])");
  EXPECT_EQ(message_of<DataError>([&] { rendered(folder); }),
            config.string() + ": an object is wanted, saw array");
}

}  // namespace
}  // namespace sluice::text
