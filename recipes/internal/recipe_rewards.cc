#include "recipes/internal/recipe_rewards.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "rewards/plugin.h"
#include "rewards/reward.h"
#include "rewards/tools.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

// The key that says what a reward of one's own is, { python = "my.py:reward" }; "" where it has none.
std::string plugin_kind(const toml::table& table, const RecipeSource& source) {
  std::string kind;
  for (const auto& [name, value] : table) {
    if (!rewards::is_plugin(name.str())) continue;
    require<UsageError>(kind.empty() && !table.contains("use"), at(source, value),
                        ": a reward is one thing, this is ", kind.empty() ? "use" : kind, " and ",
                        std::string(name.str()));
    kind = name.str();
  }
  return kind;
}

// { model = "models/judge" }, short for { use = "reward_model", path = "models/judge" }.
bool is_directory_of_a_model(const toml::table& table, const std::string& kind, const RecipeSource& source) {
  if (!kind.empty() || table.contains("use") || !table.contains("model")) return false;
  for (const char* other : {"path", "stage"}) {
    require<UsageError>(!table.contains(other), at(source, *table.get("model")),
                        ": a reward is one thing, this is model and ", other);
  }
  return true;
}

Json read_reward(const toml::node& node, const RecipeSource& source) {
  const auto* table = node.as_table();
  require<UsageError>(table != nullptr, at(source, node),
                      ": a reward is a table such as { use = \"exact_answer\" }, got ", type_of(node));
  const std::string where = at(source, node);
  const auto names = names_of(rewards::reward_entries(), [](const auto& entry) { return entry.name; });
  const auto kind = plugin_kind(*table, source);
  const bool is_model = is_directory_of_a_model(*table, kind, source);
  const auto use = is_model ? "reward_model" : kind.empty() ? (*table)["use"].value<std::string>() : kind;
  require<UsageError>(use.has_value(), where, ": a reward needs `use`", suggestion("", names));
  const auto& entries = rewards::reward_entries();
  const auto entry =
      std::find_if(entries.begin(), entries.end(), [&](const auto& e) { return e.name == *use; });
  require<UsageError>(entry != entries.end(), where, ": there is no reward \"", *use, "\"",
                      suggestion(*use, names));
  require<UsageError>(!kind.empty() || !rewards::is_plugin(*use), where, ": { ", *use,
                      " = ... } is the whole of it, without `use`; `sluice help rewards` says what it takes");

  Json reward = {
      {"use", *use}, {"name", *use}, {"weight", 1.0}, {"options", Json::object()}, {"where", where}};
  if (!kind.empty()) {
    const auto& what = *table->get(kind);
    try {
      reward["name"] = rewards::plugin_name(kind, read_option(what, source));
    } catch (const UsageError& error) {
      fail<UsageError>(at(source, what), ": ", error.what());
    }
    reward["options"]["folder"] = fs::weakly_canonical(source.folder).string();
  }
  for (const auto& [key_name, value] : *table) {
    const std::string key(is_model && key_name == "model" ? "path" : key_name.str());
    if (key == "use") continue;
    if (key == "weight") {
      const auto weight = value.value<double>();
      require<UsageError>(value.is_number() && std::isfinite(*weight), at(source, value),
                          ": a reward's weight is a number, got ", type_of(value));
      reward["weight"] = *weight;
    } else if (key == "name") {
      require<UsageError>(value.is_string(), at(source, value), ": a reward's name is text, got ",
                          type_of(value));
      reward["name"] = value.as_string()->get();
    } else {
      require<UsageError>(std::count(entry->options.begin(), entry->options.end(), key) > 0,
                          at(source, value), ": the reward ", *use, " has no key \"", key, "\"",
                          suggestion(key, [&] {
                            auto known = entry->options;
                            known.insert(known.end(), {"use", "name", "weight"});
                            return known;
                          }()));
      reward["options"][key] = read_option(value, source);
      Json& option = reward["options"][key];
      if ((key == "path" || key == "folder") && option.is_string())
        option = fs::weakly_canonical(source.folder / option.get<std::string>()).string();
    }
  }
  return reward;
}

// { use = "calculator" }, or { command = "./search" } for a program of one's own.
Json read_tool(const toml::node& node, const RecipeSource& source) {
  const std::string where = at(source, node);
  const auto* table = node.as_table();
  require<UsageError>(table != nullptr, where, ": a tool is a table such as { use = \"calculator\" }, got ",
                      type_of(node));
  const bool is_own = table->contains("command");
  require<UsageError>(!is_own || !table->contains("use"), where,
                      ": a tool is one thing, this is use and command");
  const auto& entries = rewards::tool_entries();
  const auto names = names_of(entries, [](const auto& entry) { return entry.name; });
  const auto use = is_own ? "command" : (*table)["use"].value<std::string>();
  require<UsageError>(use.has_value(), where, ": a tool needs `use`", suggestion("", names));
  const auto entry = std::ranges::find(entries, *use, [](const auto& one) { return one.name; });
  require<UsageError>(entry != entries.end(), where, ": there is no tool \"", *use, "\"",
                      suggestion(*use, names));
  require<UsageError>(is_own || *use != "command", where,
                      ": { command = \"./program\" } is the whole of it, without `use`");
  Json tool = {{"use", *use}, {"name", *use}, {"options", Json::object()}, {"where", where}};
  if (is_own) {
    const auto& what = *table->get("command");
    try {
      tool["name"] = rewards::plugin_name("command", read_option(what, source));
    } catch (const UsageError& error) {
      fail<UsageError>(at(source, what), ": ", error.what());
    }
    tool["options"]["folder"] = fs::weakly_canonical(source.folder).string();
  }
  for (const auto& [key_name, value] : *table) {
    const std::string key(key_name.str());
    if (key == "use") continue;
    if (key == "name") {
      require<UsageError>(value.is_string(), at(source, value), ": a tool's name is text, got ",
                          type_of(value));
      tool["name"] = value.as_string()->get();
      continue;
    }
    auto known = entry->options;
    known.insert(known.end(), {"use", "name"});
    require<UsageError>(std::ranges::count(entry->options, key) > 0, at(source, value), ": the tool ", *use,
                        " has no key \"", key, "\"", suggestion(key, known));
    tool["options"][key] = read_option(value, source);
  }
  return tool;
}

// Lists of tables, each with a name of its own: rewards and tools.
Json read_named(const toml::node& node, const RecipeSource& source, const std::string& what,
                Json (*read)(const toml::node&, const RecipeSource&)) {
  const auto* list = node.as_array();
  require<UsageError>(list != nullptr, at(source, node), ": ", what, "s is a list of tables, got ",
                      type_of(node));
  Json all = Json::array();
  std::vector<std::string> names;
  for (const auto& item : *list) {
    all.push_back(read(item, source));
    const std::string name = all.back()["name"];
    require<UsageError>(std::count(names.begin(), names.end(), name) == 0, at(source, item), ": two ", what,
                        "s are named \"", name, "\"; give one of them a `name`");
    names.push_back(name);
  }
  return all;
}

}  // namespace

Json read_rewards(const toml::node& node, const RecipeSource& source) {
  return read_named(node, source, "reward", read_reward);
}

Json read_tools(const toml::node& node, const RecipeSource& source) {
  return read_named(node, source, "tool", read_tool);
}

}  // namespace sluice::recipes
