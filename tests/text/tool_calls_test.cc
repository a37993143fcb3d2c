#include "text/tool_calls.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace sluice::text {
namespace {

ChatTemplate shipped(const std::string& name) {
  const auto file = std::string(SLUICE_SOURCE_DIR) + "/data/chat_templates/" + name;
  return {read_file(file, 1u << 20), {{"bos_token", "<s>"}, {"eos_token", "</s>"}}, file};
}

TEST(ToolCalls, AreWrittenAsHermesAndQwenDo) {
  EXPECT_EQ(written_call("calculator", {{"expression", "48/2"}}),
            R"(<tool_call>{"name": "calculator", "arguments": {"expression":"48/2"}}</tool_call>)");
  EXPECT_EQ(written_call("python", "print(\"a\")\n"),
            R"(<tool_call>{"name": "python", "arguments": "print(\"a\")\n"}</tool_call>)");
}

TEST(ObservationForm, IsThatOfTheTemplatesToolMessages) {
  const auto chat = shipped("qwen2_5.jinja");
  EXPECT_EQ(observation_form(&chat).around("24"),
            "<|im_end|>\n<|im_start|>user\n<tool_response>\n24\n</tool_response><|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(ObservationForm, IsPlainWhereNoTemplateKnowsTools) {
  const std::string plain = "\n<tool_response>\n24\n</tool_response>\n";
  EXPECT_EQ(observation_form(nullptr).around("24"), plain);
  // It refuses what is neither a user's nor an assistant's.
  const ChatTemplate strict(
      "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}{{ raise_exception('who?') }}{% "
      "endif %}"
      "{{ m.content }}{% endfor %}",
      Json::object(), "strict");
  EXPECT_EQ(observation_form(&strict).around("24"), plain);
  // It leaves them out.
  const ChatTemplate silent(
      "{% for m in messages %}{% if m.role != 'tool' %}{{ m.content }}{% endif %}{% endfor %}",
      Json::object(), "silent");
  EXPECT_EQ(observation_form(&silent).around("24"), plain);
}

}  // namespace
}  // namespace sluice::text
