#include "rewards/tools.h"

#include <algorithm>
#include <exception>

#include "base/nearest.h"
#include "base/utf8.h"
#include "rewards/tools/entries.h"

namespace sluice::rewards {
namespace {

constexpr size_t kMaxCallBytes = 64u << 10, kMaxAnswerBytes = 16u << 10;
constexpr int kMaxCallDepth = 32;

struct Known {
  ToolEntry entry;
  std::unique_ptr<Tool> (*make)(const ToolSpec&);
};

const std::vector<Known>& table() {
  static const std::vector<Known> known = {
      {{"calculator", "Exact arithmetic: numbers, + - * / and parentheses.", {}}, tools::make_calculator},
      {{"python",
        "What a Python program prints, in the `sandbox` (default \"namespaces\") with `timeout_s` (5) and "
        "`memory_mb` (1024).",
        {"timeout_s", "memory_mb", "sandbox", "python", "readable"}},
       tools::make_python},
      {{"command",
        "What a program of your own says that speaks JSON lines (docs/tools.md): `command` = \"./search\", "
        "in "
        "`workers` processes, each call within `timeout_ms` (10000).",
        {"command", "folder", "description", "workers", "timeout_ms", "start_timeout_ms", "memory_mb",
         "sandbox", "readable"}},
       tools::make_command},
  };
  return known;
}

std::string names_of(const std::vector<std::string>& names) {
  std::string all;
  for (const auto& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  return did_you_mean(word, candidates,
                      candidates.empty() ? "; it has none" : "; there are: " + names_of(candidates));
}

ToolAnswer failed(const std::string& why) { return {"error: " + why, /*failed=*/true}; }

// What is beyond the bound is left out, never in the middle of a character.
ToolAnswer bounded(ToolAnswer answer) {
  if (answer.text.size() <= kMaxAnswerBytes) return answer;
  answer.text.resize(whole_characters(answer.text, kMaxAnswerBytes).size());
  answer.text += "...";
  return answer;
}

}  // namespace

const std::vector<ToolEntry>& tool_entries() {
  static const std::vector<ToolEntry> entries = [] {
    std::vector<ToolEntry> all;
    for (const auto& known : table()) all.push_back(known.entry);
    return all;
  }();
  return entries;
}

std::unique_ptr<Tool> make_tool(const ToolSpec& spec) {
  std::vector<std::string> names;
  for (const auto& known : table()) names.push_back(known.entry.name);
  const auto known = std::ranges::find(table(), spec.use, [](const Known& one) { return one.entry.name; });
  require<UsageError>(known != table().end(), tools::speaker(spec), " does not exist",
                      suggestion(spec.use, names));
  for (const auto& item : spec.options.items()) {
    require<UsageError>(std::ranges::count(known->entry.options, item.key()) > 0, tools::speaker(spec),
                        " has no option \"", item.key(), "\"", suggestion(item.key(), known->entry.options));
  }
  return known->make(spec);
}

Toolbox::Toolbox(const std::vector<ToolSpec>& specs) {
  for (const auto& spec : specs) {
    auto tool = make_tool(spec);
    for (const auto& other : tools_) {
      require<UsageError>(other->name() != tool->name(), tools::speaker(spec), ": two tools are called \"",
                          tool->name(), "\"; give one of them another `name`");
    }
    tools_.push_back(std::move(tool));
  }
}

ToolAnswer Toolbox::answer(std::string_view call) const {
  try {
    const Json said = parse_json(call, "the call", {.max_bytes = kMaxCallBytes, .max_depth = kMaxCallDepth});
    const auto name = json_member<std::string>(said, "name", "the call");
    const auto tool = std::ranges::find(tools_, name, [](const auto& one) { return one->name(); });
    if (tool == tools_.end()) {
      std::vector<std::string> names;
      for (const auto& one : tools_) names.push_back(one->name());
      return failed("there is no tool of that name; there are: " + names_of(names));
    }
    const auto arguments = said.find("arguments");
    return bounded((*tool)->call(arguments == said.end() ? Json::object() : *arguments));
  } catch (const std::exception& error) {
    return bounded(failed(error.what()));
  } catch (...) {
    return failed("the tool failed");
  }
}

void Toolbox::interrupt() const {
  for (const auto& tool : tools_) tool->interrupt();
}

Json Toolbox::descriptions() const {
  if (tools_.empty()) return nullptr;
  Json all = Json::array();
  for (const auto& tool : tools_) all.push_back(tool->description());
  return all;
}

namespace tools {

Json described(const std::string& name, const std::string& does, Json parameters) {
  return {{"type", "function"},
          {"function", {{"name", name}, {"description", does}, {"parameters", std::move(parameters)}}}};
}

Json takes_text(const std::string& name, const std::string& does, const char* argument,
                const std::string& meaning) {
  Json parameters = {
      {"type", "object"}, {"properties", Json::object()}, {"required", Json::array({argument})}};
  parameters["properties"][argument] = {{"type", "string"}, {"description", meaning}};
  return described(name, does, std::move(parameters));
}

std::string text_argument(const Json& arguments, const char* argument) {
  if (arguments.is_string()) return arguments.get<std::string>();
  return json_member<std::string>(arguments, argument, "arguments");
}

}  // namespace tools
}  // namespace sluice::rewards
