#include "text/tool_calls.h"

#include "base/error.h"

namespace sluice::text {
namespace {

constexpr std::string_view kCall = "assistant-calls", kSaid = "tool-says";

}  // namespace

std::string written_call(std::string_view name, const Json& arguments) {
  return std::string(kCallBegin) + "{\"name\": " + Json(name).dump() +
         ", \"arguments\": " + arguments.dump() + "}" + std::string(kCallEnd);
}

ObservationForm observation_form(const ChatTemplate* chat) {
  const ObservationForm plain = {"\n<tool_response>\n", "\n</tool_response>\n"};
  if (chat == nullptr) return plain;
  const auto conversation = Json::array({{{"role", "user"}, {"content", "question"}},
                                         {{"role", "assistant"}, {"content", kCall}},
                                         {{"role", "tool"}, {"name", "tool"}, {"content", kSaid}}});
  std::string rendered, ended;
  try {
    rendered = chat->render(conversation, {.add_generation_prompt = true}).text;
    ended = chat->render(conversation).text;
  } catch (const DataError&) {
    return plain;
  }
  const size_t call = rendered.find(kCall), said = rendered.find(kSaid);
  if (call == std::string::npos || said == std::string::npos || said < call) return plain;
  const size_t behind = call + kCall.size();
  return {.before = rendered.substr(behind, said - behind),
          .after = rendered.substr(said + kSaid.size()),
          .turn = rendered.starts_with(ended) ? rendered.substr(ended.size()) : ""};
}

}  // namespace sluice::text
