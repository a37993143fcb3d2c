#include "base/json.h"
#include "tests/fuzz/targets.h"
#include "text/chat_template.h"

namespace sluice::fuzz {
namespace {

const Json& messages() {
  static const Json kMessages = Json::parse(R"([
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1 < 2?"},
    {"role": "assistant", "content": "<think>\nx\n</think>\nYes.",
     "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, 2.5, null, true]}}}]},
    {"role": "tool", "content": "4"},
    {"role": "user", "content": [{"type": "text", "text": "\u00e9\u4f60"}]}])");
  return kMessages;
}

}  // namespace

void render_chat_template(std::string_view bytes) {
  refuse_or([&] {
    const Json variables{{"bos_token", "<s>"}, {"eos_token", "</s>"}};
    const text::TemplateLimits limits{.max_steps = 20'000, .max_output_bytes = 1 << 20};
    const text::ChatTemplate chat(std::string(bytes), variables, "fuzzed", limits);
    const Json tools = Json::parse(R"([{"type": "function", "function": {"name": "f", "parameters": {}}}])");
    const auto rendered =
        chat.render(messages(), {.add_generation_prompt = true, .tools = tools, .extra = Json::object()});
    must_hold(rendered.text.size() <= static_cast<size_t>(limits.max_output_bytes), "more text than allowed");
    size_t last = 0;
    for (const auto& [begin, end] : rendered.generation) {
      must_hold(last <= begin && begin <= end && end <= rendered.text.size(), "a range outside of the text");
      last = end;
    }
  });
}

}  // namespace sluice::fuzz
