// The chat template of a model directory.
#include "base/error.h"
#include "base/files.h"
#include "text/chat_template.h"
#include "text/internal/tokenizer_files.h"

namespace sluice::text {
namespace {

constexpr uint64_t kMaxTemplateBytes = 1 << 20;

struct Sources {
  std::optional<std::string> usual;
  std::optional<std::string> with_tools;
};

// A string, or of a list of {"name", "template"} the ones named "default" and "tool_use".
Sources templates_of(const Json& config, const std::string& where) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return {};
  if (found->is_string()) return {.usual = found->get<std::string>()};
  require<DataError>(found->is_array(), where, ": \"chat_template\" should be a string or an array, saw ",
                     found->type_name());
  Sources out;
  std::string names;
  for (const Json& entry : *found) {
    const auto name = json_member<std::string>(entry, "name", where);
    if (name == "default") out.usual = json_member<std::string>(entry, "template", where);
    if (name == "tool_use") out.with_tools = json_member<std::string>(entry, "template", where);
    names += (names.empty() ? "" : ", ") + name;
  }
  require<DataError>(out.usual.has_value(), where, ": none of the chat templates is named \"default\", saw ",
                     names);
  return out;
}

// "bos_token" and its kin, as text; `replace` says whether a name that is there already is taken over.
void collect_tokens(const Json& config, bool replace, Json& variables) {
  for (const auto& [name, value] : config.items()) {
    if (!name.ends_with("_token") || (variables.contains(name) && !replace)) continue;
    if (value.is_string()) {
      variables[name] = value;
    } else if (value.is_object() && value.contains("content") && value["content"].is_string()) {
      variables[name] = value["content"];
    }
  }
}

Json read_object(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return Json::object();
  return internal::parse_object(read_file(file, JsonLimits().max_bytes), file.string());
}

}  // namespace

std::optional<ChatTemplate> load_chat_template(const std::filesystem::path& directory) {
  const auto file = directory / "chat_template.jinja";
  const auto config_file = directory / "tokenizer_config.json";
  const Json config = read_object(config_file);
  const Json map = read_object(directory / "special_tokens_map.json");

  Json variables = Json::object();
  collect_tokens(config, true, variables);
  if (const auto extra = config.find("extra_special_tokens"); extra != config.end() && extra->is_object()) {
    collect_tokens(*extra, true, variables);
  }
  // As in transformers: the older file counts for more in directories that do not list their added tokens.
  collect_tokens(map, !config.contains("added_tokens_decoder"), variables);

  if (std::filesystem::exists(file)) {
    return ChatTemplate(read_file(file, kMaxTemplateBytes), std::move(variables), file.string());
  }
  auto [usual, with_tools] = templates_of(config, config_file.string());
  if (!usual) return std::nullopt;
  const std::string where = config_file.string() + " (chat_template)";
  ChatTemplate chat(std::move(*usual), variables, where);
  if (!with_tools) return chat;
  return std::move(chat).with_tool_template(
      ChatTemplate(std::move(*with_tools), std::move(variables), where + " tool_use"));
}

}  // namespace sluice::text
