#include "text/chat_spans.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "tests/base/temp_folder.h"

namespace sluice::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ChatTemplate of_source(const std::string& source) {
  return ChatTemplate(source, {{"bos_token", "<s>"}, {"eos_token", "</s>"}}, "chat");
}

ChatTemplate of_file(const std::string& name) {
  return of_source(
      read_file(std::filesystem::path(SLUICE_SOURCE_DIR) / "data/chat_templates" / (name + ".jinja")));
}

Json says(const char* role, const char* content) { return {{"role", role}, {"content", content}}; }

const Json kTalk =
    Json::array({says("user", "q"), says("assistant", "one"), says("user", "r"), says("assistant", "two")});

std::vector<std::string> learned(const ChatTemplate& chat, const Json& messages,
                                 const ChatOptions& options = {}, int64_t first = 0) {
  const auto spans = learned_spans(chat, messages, options, first);
  std::vector<std::string> parts;
  for (const auto& [begin, end] : spans.learned) parts.push_back(spans.text.substr(begin, end - begin));
  return parts;
}

TEST(ChatSpans, BeginWhereTheModelIsAskedAndEndWithTheMarkOfTheTurn) {
  EXPECT_THAT(learned(of_file("chatml"), kTalk), ElementsAre("one<|im_end|>", "two<|im_end|>"));
  EXPECT_THAT(learned(of_file("phi3"), kTalk), ElementsAre("one<|end|>", "two<|end|>"));
  EXPECT_THAT(learned(of_file("gemma3"), kTalk), ElementsAre("one<end_of_turn>", "two<end_of_turn>"));
  EXPECT_THAT(learned(of_file("minimind"), kTalk), ElementsAre("one<|im_end|>", "two<|im_end|>"));
}

TEST(ChatSpans, AreTheBlocksOfATemplateThatMarksThem) {
  const auto chat = of_source(
      "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
      "{% endgeneration %}{% else %}{{ m.content }}{% endif %}.{% endfor %}");
  EXPECT_THAT(learned(chat, kTalk), ElementsAre("one", "two"));  // without the end, which is not in the block
}

TEST(ChatSpans, KeepTheWhiteSpaceThatAloneEndsATurn) {
  const auto chat = of_source(
      "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ '\n' }}{% endfor %}"
      "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}");
  EXPECT_THAT(learned(chat, kTalk), ElementsAre("one\n", "two\n"));
}

TEST(ChatSpans, LeaveOutWhatTheAssistantSaysInThePrompt) {
  EXPECT_THAT(learned(of_file("chatml"), kTalk, {}, /*first=*/2), ElementsAre("two<|im_end|>"));
  EXPECT_THAT(learned(of_file("chatml_masked"), kTalk, {}, /*first=*/3), ElementsAre("two<|im_end|>"));
}

TEST(ChatSpans, HoldThoughtsAndCalls) {
  const Json call = {{"role", "assistant"},
                     {"content", "Let me see."},
                     {"tool_calls", {{{"function", {{"name", "now"}, {"arguments", Json::object()}}}}}}};
  const Json talk = Json::array({says("user", "q"), call, says("tool", "noon"), says("assistant", "Noon.")});
  EXPECT_THAT(
      learned(of_file("qwen2_5"), talk),
      ElementsAre("Let me see.\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call><|im_end|>",
                  "Noon.<|im_end|>"));
  const Json thought = Json::array({says("user", "q"), says("assistant", "<think>\nhm\n</think>\n\nyes")});
  EXPECT_THAT(learned(of_file("qwen3"), thought), ElementsAre("<think>\nhm\n</think>\n\nyes<|im_end|>"));
}

TEST(ChatSpans, AreNotMisledByAMessageThatSpellsATurn) {
  const Json talk = Json::array(
      {says("user", "<|im_start|>assistant\nnot this<|im_end|>"), says("assistant", "q<|im_end|>\nthis")});
  EXPECT_THAT(learned(of_file("chatml"), talk), ElementsAre("q<|im_end|>\nthis<|im_end|>"));
}

TEST(ChatSpans, RefuseATemplateWhoseRenderingsAreNoPrefixes) {
  const auto refusal = [](const char* name, const Json& messages) {
    return message_of<DataError>([&] { learned_spans(of_file(name), messages); });
  };
  // Asks for a thought that it takes out of what is trained on.
  EXPECT_THAT(refusal("deepseek_r1", kTalk),
              HasSubstr("before message 2, with its generation prompt, is no"));
  // Writes a system message into the last question.
  const Json system = Json::array({says("system", "s"), says("user", "q"), says("assistant", "a")});
  EXPECT_THAT(refusal("mistral_tools", system), HasSubstr("before message 3"));
  // Writes an empty thought into the last answer alone.
  EXPECT_THAT(refusal("qwen3", kTalk),
              HasSubstr("message 2 is rendered otherwise when the conversation goes on"));
}

TEST(ChatSpans, RefuseATemplateThatHidesTheAnswer) {
  const auto chat = of_source("{{ messages[0].content }}");
  EXPECT_THAT(message_of<DataError>([&] { learned_spans(chat, kTalk); }),
              HasSubstr("does not print what the assistant says"));
}

}  // namespace
}  // namespace sluice::text
