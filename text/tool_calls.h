// How a policy writes that it wants a tool, and how what the tool says stands behind that.
//
// A call is that of Hermes and Qwen, which models that know tools have been taught:
//
//   <tool_call>{"name": "calculator", "arguments": {"expression": "48/2"}}</tool_call>
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "text/chat_template.h"

namespace sluice::text {

inline constexpr std::string_view kCallBegin = "<tool_call>", kCallEnd = "</tool_call>";

// A call as a worked example has it: `arguments` may be text where the tool takes a single one.
std::string written_call(std::string_view name, const Json& arguments);

// The texts around what a tool says.
struct ObservationForm {
  std::string before, after;
  std::string turn = {};  // stands in a prompt that is a conversation, where the assistant begins; or empty

  std::string around(std::string_view said) const { return before + std::string(said) + after; }
};

// As the template writes a message of the role `tool` behind an assistant's, and where the assistant goes on.
// Without a template (null), and with one that knows no such role:
//
//   <tool_call>...</tool_call>
//   <tool_response>
//   24
//   </tool_response>
ObservationForm observation_form(const ChatTemplate* chat);

}  // namespace sluice::text
