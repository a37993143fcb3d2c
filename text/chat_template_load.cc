// The chat template of a model directory.
#include "base/error.h"
#include "base/files.h"
#include "text/chat_template.h"
#include "text/internal/tokenizer_files.h"

namespace sluice::text {
namespace {

constexpr uint64_t kMaxTemplateBytes = 1 << 20;

// A string, or the one named "default" of a list of {"name", "template"}.
std::optional<std::string> template_of(const Json& config, const std::string& where) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  require<DataError>(found->is_array(), where, ": \"chat_template\" should be a string or an array, saw ",
                     found->type_name());
  std::string names;
  for (const Json& entry : *found) {
    const auto name = json_member<std::string>(entry, "name", where);
    if (name == "default") return json_member<std::string>(entry, "template", where);
    names += (names.empty() ? "" : ", ") + name;
  }
  fail<DataError>(where, ": none of the chat templates is named \"default\", saw ", names);
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
  auto source = template_of(config, config_file.string());
  if (!source) return std::nullopt;
  return ChatTemplate(std::move(*source), std::move(variables), config_file.string() + " (chat_template)");
}

}  // namespace sluice::text
