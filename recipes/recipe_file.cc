#include "recipes/internal/recipe_file.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/nearest.h"
#include "recipes/schema.h"
#include "rewards/plugin.h"
#include "rewards/reward.h"
#include "rewards/tools.h"
#include "text/dataset.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

// A file, or one override: what messages name, and where relative paths start.
struct Source {
  std::string name;
  fs::path folder;
};

std::string at(const Source& source, const toml::node& node) {
  const auto begin = node.source().begin;
  if (begin.line == 0) return source.name;
  return source.name + ":" + std::to_string(begin.line) + ":" + std::to_string(begin.column);
}

std::string listing(const std::vector<std::string>& candidates) {
  std::string list;
  for (const auto& candidate : candidates) list += (list.empty() ? "" : ", ") + candidate;
  return "; there are: " + list;
}

std::string suggestion(std::string_view word, const std::vector<std::string>& candidates) {
  return did_you_mean(word, candidates, listing(candidates));
}

template <class Items, class Name>
std::vector<std::string> names_of(const Items& items, Name name) {
  std::vector<std::string> names;
  for (const auto& item : items) names.push_back(name(item));
  return names;
}

std::vector<std::string> key_names(const std::string& table) {
  std::vector<std::string> names;
  for (const auto& key : schema()) {
    if (key.table == table) names.push_back(key.name);
  }
  for (const auto& inner : schema_tables()) {
    if (inner.name.starts_with(table + ".")) names.push_back(inner.name.substr(table.size() + 1));
  }
  return names;
}

const SchemaTable* find_table(std::string_view name) {
  const auto& tables = schema_tables();
  const auto found =
      std::find_if(tables.begin(), tables.end(), [&](const auto& t) { return t.name == name; });
  return found == tables.end() ? nullptr : &*found;
}

bool serves(const SchemaTable& table, const std::string& use) {
  const StageKind* kind = find_stage_kind(use);
  return kind != nullptr && table.serves(kind->role) && (table.only_use.empty() || table.only_use == use);
}

std::string type_of(const toml::node& node) {
  if (node.is_boolean()) return "true or false";
  if (node.is_integer()) return "an integer";
  if (node.is_floating_point()) return "a number";
  if (node.is_string()) return "text";
  if (node.is_array()) return "a list";
  if (node.is_table()) return "a table";
  return "a date or time";
}

// The value of one key, checked against its row of the schema.
// [{ path = "a.jsonl", weight = 2.0 }, ...]
Json read_mixture(const toml::node& node, const std::string& who, const Source& source) {
  const auto* list = node.as_array();
  require<UsageError>(list != nullptr, who, " wants a list of tables, got ", type_of(node));
  Json parts = Json::array();
  for (const auto& item : *list) {
    const auto* table = item.as_table();
    const auto path = table == nullptr ? std::nullopt : (*table)["path"].value<std::string>();
    require<UsageError>(path.has_value() && !path->empty(), who,
                        ": a part is { path = \"a.jsonl\", weight = 2 }");
    for (const auto& [name, value] : *table) {
      require<UsageError>(name.str() == "path" || name.str() == "weight", at(source, value),
                          ": a part has no key \"", std::string(name.str()), "\"; it has path and weight");
    }
    const double weight = (*table)["weight"].value<double>().value_or(1.0);
    require<UsageError>(std::isfinite(weight) && weight > 0.0, who, ": the weight of ", *path, " is ", weight,
                        "; it is above 0");
    parts.push_back({{"path", fs::weakly_canonical(source.folder / *path).string()}, {"weight", weight}});
  }
  return parts;
}

Json read_value(const SchemaKey& key, const toml::node& node, const Source& source) {
  const std::string who =
      at(source, node) + ": " + (key.table.empty() || key.table == "stage" ? "" : key.table + ".") + key.name;
  const auto wrong_type = [&](const char* wanted) {
    fail<UsageError>(who, " wants ", wanted, ", got ", type_of(node));
  };
  const auto check_range = [&](double value) {
    require<UsageError>(
        std::isfinite(value) && (!key.min || value >= *key.min) && (!key.max || value <= *key.max), who,
        " is ", value, "; it goes from ", key.min.value_or(-INFINITY), " to ", key.max.value_or(INFINITY));
  };
  switch (key.type) {
    case KeyType::Boolean:
      if (!node.is_boolean()) wrong_type("true or false");
      return node.as_boolean()->get();
    case KeyType::Integer:
      if (!node.is_integer()) wrong_type("an integer");
      check_range(static_cast<double>(node.as_integer()->get()));
      return node.as_integer()->get();
    case KeyType::Number: {
      if (!node.is_number()) wrong_type("a number");
      const double value = *node.value<double>();
      check_range(value);
      return value;
    }
    case KeyType::Text: {
      if (!node.is_string()) wrong_type("text in quotes");
      const std::string value = node.as_string()->get();
      require<UsageError>(
          key.choices.empty() || std::count(key.choices.begin(), key.choices.end(), value) > 0, who, " is \"",
          value, "\"", listing(key.choices));  // few enough to show: gpu is near to cpu
      return value;
    }
    case KeyType::TextList: {
      if (!node.is_array()) wrong_type("a list of text");
      Json list = Json::array();
      for (const auto& item : *node.as_array()) {
        if (!item.is_string()) wrong_type("a list of text");
        list.push_back(item.as_string()->get());
      }
      return list;
    }
    case KeyType::Path: {
      if (!node.is_string()) wrong_type("a path in quotes");
      const fs::path value = node.as_string()->get();
      require<UsageError>(!value.empty(), who, " is an empty path");
      return fs::weakly_canonical(source.folder / value).string();
    }
    case KeyType::NumberTable: {
      if (!node.is_table()) wrong_type("a table of numbers");
      Json table = Json::object();
      for (const auto& [name, value] : *node.as_table()) {
        if (!value.is_number()) wrong_type("a table of numbers");
        check_range(*value.value<double>());
        table[std::string(name.str())] = *value.value<double>();
      }
      return table;
    }
    case KeyType::Mixture:
      return read_mixture(node, who, source);
  }
  return nullptr;
}

Json read_table(const std::string& table, const toml::table& values, const Source& source) {
  Json result = Json::object();
  for (const auto& [name, node] : values) {
    const std::string inner = table + "." + std::string(name.str());
    if (find_table(inner) != nullptr) {
      require<UsageError>(node.is_table(), at(source, node), ": ", inner, " is a table, got ", type_of(node));
      result[std::string(name.str())] = read_table(inner, *node.as_table(), source);
      continue;
    }
    const SchemaKey* key = find_key(table, name.str());
    require<UsageError>(key != nullptr, at(source, node), ": [", table, "] has no key \"",
                        std::string(name.str()), "\"", suggestion(name.str(), key_names(table)));
    result[key->name] = read_value(*key, node, source);
  }
  return result;
}

Json to_json(const toml::node& node, const Source& source) {
  if (node.is_boolean()) return node.as_boolean()->get();
  if (node.is_integer()) return node.as_integer()->get();
  if (node.is_floating_point()) return node.as_floating_point()->get();
  if (node.is_string()) return node.as_string()->get();
  if (node.is_array()) {
    Json list = Json::array();
    for (const auto& item : *node.as_array()) list.push_back(to_json(item, source));
    return list;
  }
  fail<UsageError>(at(source, node), ": an option is text, a number, true or false, or a list, got ",
                   type_of(node));
}

// The key that says what a reward of one's own is, { python = "my.py:reward" }; "" where it has none.
std::string plugin_kind(const toml::table& table, const Source& source) {
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
bool is_directory_of_a_model(const toml::table& table, const std::string& kind, const Source& source) {
  if (!kind.empty() || table.contains("use") || !table.contains("model")) return false;
  for (const char* other : {"path", "stage"}) {
    require<UsageError>(!table.contains(other), at(source, *table.get("model")),
                        ": a reward is one thing, this is model and ", other);
  }
  return true;
}

Json read_reward(const toml::node& node, const Source& source) {
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
      reward["name"] = rewards::plugin_name(kind, to_json(what, source));
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
      reward["options"][key] = to_json(value, source);
      Json& option = reward["options"][key];
      if ((key == "path" || key == "folder") && option.is_string())
        option = fs::weakly_canonical(source.folder / option.get<std::string>()).string();
    }
  }
  return reward;
}

// { use = "calculator" }, or { command = "./search" } for a program of one's own.
Json read_tool(const toml::node& node, const Source& source) {
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
      tool["name"] = rewards::plugin_name("command", to_json(what, source));
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
    tool["options"][key] = to_json(value, source);
  }
  return tool;
}

// Lists of tables, each with a name of its own: rewards and tools.
Json read_named(const toml::node& node, const Source& source, const std::string& what,
                Json (*read)(const toml::node&, const Source&)) {
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

// What one source says about the recipe as a whole and about one stage: tables of checked values.
struct Layer {
  Json top = Json::object();     // keys of the recipe itself
  Json tables = Json::object();  // table -> key -> value; "rewards", "tools" -> list
};

// Reads keys, tables, rewards and tools out of `values`; `scope` is "" for the recipe or "stage" for a
// stage's own keys. `others` are further names that may have been meant.
Layer read_layer(const toml::table& values, const std::string& scope, const std::string& use,
                 const Source& source, const std::vector<std::string>& others = {}) {
  Layer layer;
  for (const auto& [key_name, node] : values) {
    const std::string name(key_name.str());
    if (scope.empty() && name == "stages") continue;
    // "model.lora" in quotes is no key: the table of that name lies inside `model`.
    const SchemaTable* table = name.find('.') == std::string::npos ? find_table(name) : nullptr;
    if (name == "rewards") {
      layer.tables["rewards"] = read_named(node, source, "reward", read_reward);
    } else if (name == "tools") {
      layer.tables["tools"] = read_named(node, source, "tool", read_tool);
    } else if (table != nullptr) {
      require<UsageError>(node.is_table(), at(source, node), ": ", name, " is a table, got ", type_of(node));
      require<UsageError>(scope.empty() || serves(*table, use), at(source, node), ": a stage of kind ", use,
                          " has no [", name, "]");
      layer.tables[name] = read_table(name, *node.as_table(), source);
    } else if (const SchemaKey* key = find_key(scope, name)) {
      layer.top[name] = read_value(*key, node, source);
    } else {
      auto known = key_names(scope);
      for (const auto& t : schema_tables()) {
        const bool is_inner = t.name.find('.') != std::string::npos;
        if (!is_inner && (scope.empty() || serves(t, use))) known.push_back(t.name);
      }
      known.insert(known.end(), {"rewards", "tools"});
      if (scope.empty()) known.push_back("stages");
      known.insert(known.end(), others.begin(), others.end());
      fail<UsageError>(at(source, node), ": ", scope.empty() ? "a recipe" : "a stage", " has no key \"", name,
                       "\"", suggestion(name, known));
    }
  }
  return layer;
}

void merge(Layer& into, const Layer& from) {
  into.top.update(from.top);
  for (const auto& [name, values] : from.tables.items()) {
    if (values.is_object() && into.tables.contains(name)) {
      into.tables[name].update(values, /*merge_objects=*/true);
    } else {
      into.tables[name] = values;
    }
  }
}

// One override, parsed as the TOML document it is. Text may come without its quotes, which a shell eats.
toml::table parse_override(const std::string& text) {
  const auto equals = text.find('=');
  require<UsageError>(equals != std::string::npos && equals > 0, "override \"", text,
                      "\": wants KEY=VALUE, for instance optim.lr=3e-6");
  try {
    return toml::parse(text);
  } catch (const toml::parse_error&) {
    try {
      return toml::parse(text.substr(0, equals) + "=" + Json(text.substr(equals + 1)).dump());
    } catch (const toml::parse_error& error) {
      fail<UsageError>("override \"", text, "\": ", error.description());
    }
  }
}

toml::table json_to_toml(const Json& json, const std::string& where);
toml::array json_to_toml_array(const Json& json, const std::string& where);

// Hands the TOML value of one JSON value to `insert`, whatever its type.
template <class Insert>
void insert_json(const Json& value, const std::string& where, const Insert& insert) {
  switch (value.type()) {
    case Json::value_t::boolean:
      return insert(value.get<bool>());
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return insert(value.get<int64_t>());
    case Json::value_t::number_float:
      return insert(value.get<double>());
    case Json::value_t::string:
      return insert(value.get<std::string>());
    case Json::value_t::object:
      return insert(json_to_toml(value, where));
    case Json::value_t::array:
      return insert(json_to_toml_array(value, where));
    default:
      fail<UsageError>(where, ": null is no value of a recipe; leave the key out");
  }
}

toml::array json_to_toml_array(const Json& json, const std::string& where) {
  toml::array list;
  for (const auto& item : json) {
    insert_json(item, where, [&list](auto&& value) { list.push_back(std::forward<decltype(value)>(value)); });
  }
  return list;
}

toml::table json_to_toml(const Json& json, const std::string& where) {
  require<UsageError>(json.is_object(), where, ": a recipe is a table of keys");
  toml::table table;
  for (const auto& item : json.items()) {
    const std::string& key = item.key();
    insert_json(item.value(), where,
                [&table, &key](auto&& value) { table.insert(key, std::forward<decltype(value)>(value)); });
  }
  return table;
}

// The recipes that lie where this one was looked for.
std::vector<std::string> recipes_beside(const fs::path& file) {
  std::vector<std::string> names;
  std::error_code ignored;
  const auto folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    const auto kind = entry->path().extension();
    if (kind == ".toml" || kind == ".json") names.push_back(entry->path().filename());
  }
  std::ranges::sort(names);
  return names;
}

toml::table parse_file(const fs::path& file) {
  std::string content;
  try {
    content = read_file(file, 1u << 20);
  } catch (const DataError& error) {
    std::error_code ignored;
    const bool is_there = fs::exists(file, ignored);
    fail<UsageError>(error.what(),
                     is_there ? "" : did_you_mean(file.filename().string(), recipes_beside(file)));
  }
  if (file.extension() == ".json") {
    try {
      return json_to_toml(parse_json(content, file.string()), file.string());
    } catch (const DataError& error) {
      fail<UsageError>(error.what());
    }
  }
  try {
    return toml::parse(content);
  } catch (const toml::parse_error& error) {
    const auto begin = error.source().begin;
    fail<UsageError>(file.string(), ":", begin.line, ":", begin.column, ": ", error.description());
  }
}

Json defaults_of(const std::string& table) {
  Json values = Json::object();
  for (const auto& key : schema()) {
    if (key.table == table) values[key.name] = key.default_value;
  }
  return values;
}

// A table inside a table is null unless the recipe has it.
void fill_inner_tables(const std::string& table, Json& values) {
  for (const auto& inner : schema_tables()) {
    if (!inner.name.starts_with(table + ".")) continue;
    Json& value = values[inner.name.substr(table.size() + 1)];
    if (value.is_null()) continue;
    Json filled = defaults_of(inner.name);
    filled.update(value);
    value = std::move(filled);
  }
}

// Everything a recipe says, before the stages are filled in.
struct RawStage {
  std::string use, name;
  Layer own;
  Layer override;
  std::string where;
};

std::vector<RawStage> read_stages(const toml::table& file, const Source& source) {
  const auto* stages = file["stages"].as_array();
  require<UsageError>(stages != nullptr && !stages->empty(), source.name,
                      ": a recipe needs at least one [[stages]] table");
  const auto kinds = names_of(stage_kinds(), [](const auto& kind) { return kind.use; });
  std::vector<RawStage> result;
  for (const auto& node : *stages) {
    const auto* table = node.as_table();
    require<UsageError>(table != nullptr, at(source, node), ": a stage is a table, got ", type_of(node));
    const auto use = (*table)["use"].value<std::string>();
    require<UsageError>(use.has_value(), at(source, node), ": a stage needs `use`", suggestion("", kinds));
    require<UsageError>(std::count(kinds.begin(), kinds.end(), *use) > 0, at(source, *table->get("use")),
                        ": there is no stage of kind \"", *use, "\"", suggestion(*use, kinds));
    RawStage stage{*use, *use, read_layer(*table, "stage", *use, source), {}, at(source, node)};
    if (stage.own.top.contains("name")) stage.name = stage.own.top["name"];
    const bool plain = !stage.name.empty() &&
                       std::all_of(stage.name.begin(), stage.name.end(),
                                   [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
    require<UsageError>(plain, stage.where, ": a stage's name is made of letters, digits, _ and -, got \"",
                        stage.name, "\"");
    require<UsageError>(find_table(stage.name) == nullptr && find_key("", stage.name) == nullptr, stage.where,
                        ": a stage cannot be named \"", stage.name, "\": that is a key of every recipe");
    for (const auto& other : result) {
      require<UsageError>(other.name != stage.name, stage.where, ": two stages are named \"", stage.name,
                          "\"; give one of them a `name`");
    }
    result.push_back(std::move(stage));
  }
  return result;
}

// Refuses what was said and means nothing beside the other values of the table.
void check_meaning(const RawStage& raw, const std::string& table, const Json& given, const Json& values) {
  const StageRole role = find_stage_kind(raw.use)->role;
  for (const auto& [name, value] : given.items()) {
    const SchemaKey* key = find_key(table, name);
    if (key == nullptr) continue;
    require<UsageError>(key->roles.empty() || std::ranges::count(key->roles, role) > 0, raw.where,
                        ": stage \"", raw.name, "\": ", table, ".", name,
                        " means nothing to a stage of kind ", raw.use, "; leave it out");
    for (const auto& condition : key->only_with) {
      const Json& other = values.at(condition.key);
      if (condition.holds(other)) continue;
      std::string wanted = condition.values.empty() ? " above 0" : "";
      for (const auto& choice : condition.values)
        wanted += (wanted.empty() ? " = " : " or ") + ("\"" + choice + "\"");
      fail<UsageError>(raw.where, ": stage \"", raw.name, "\": ", table, ".", name, " is ",
                       condition.none_of ? "not " : "", "for ", table, ".", condition.key, wanted,
                       ", which is ", other.dump(), " here; leave it out");
    }
  }
}

// What bounds tools means nothing where a stage has none.
void check_tools(const RawStage& raw, const Json& stage) {
  if (!stage["tools"].empty()) return;
  for (const char* key : {"tool_calls", "tool_tokens"}) {
    for (const Layer* layer : {&raw.own, &raw.override}) {
      const bool is_own = layer->tables.contains("rollout") && layer->tables["rollout"].contains(key);
      require<UsageError>(!is_own, raw.where, ": stage \"", raw.name, "\": rollout.", key,
                          " is about tools, and it has none; add tools = [{ use = \"calculator\" }]");
    }
  }
}

// The samples of a stage in place of a file: what was said about files for all stages is not for this one.
void take_from_stage(const RawStage& raw, Json& data) {
  if (data.at("from").is_null()) return;
  for (const char* key : {"use", "path", "mixture", "prompt_column", "completion_column"}) {
    for (const Layer* layer : {&raw.own, &raw.override}) {
      const bool is_own = layer->tables.contains("data") && layer->tables["data"].contains(key);
      require<UsageError>(!is_own, raw.where, ": stage \"", raw.name, "\": data.from and data.", key,
                          " do not go together; leave one of them out");
    }
    data[key] = find_key("data", key)->default_value;
  }
}

Json resolve_stage(const RawStage& raw, const std::vector<RawStage>& all, const Layer& file_top,
                   const Layer& override_all) {
  const StageKind* kind = find_stage_kind(raw.use);
  Json stage = {{"use", raw.use}, {"name", raw.name}, {"steps", 0}};
  for (const Layer* layer : {&raw.own, &raw.override}) {
    if (layer->top.contains("steps")) stage["steps"] = layer->top["steps"];
  }
  require<UsageError>(!trains(kind->role) || stage["steps"].get<int64_t>() > 0, raw.where, ": stage \"",
                      raw.name, "\" needs `steps`, the number of optimizer steps");
  for (const auto& table : schema_tables()) {
    if (!serves(table, raw.use)) continue;
    Json values = defaults_of(table.name);
    for (const auto& [key, value] : kind->defaults) {
      if (key.starts_with(table.name + ".")) values[key.substr(table.name.size() + 1)] = value;
    }
    for (const Layer* layer : {&file_top, &raw.own, &override_all, &raw.override}) {
      if (layer->tables.contains(table.name)) values.update(layer->tables[table.name]);
    }
    const bool is_alone =
        std::ranges::count_if(all, [&](const auto& other) { return serves(table, other.use); }) == 1;
    for (const Layer* layer : {&file_top, &raw.own, &override_all, &raw.override}) {
      // What is said for all stages may be meant for another one.
      if (layer->tables.contains(table.name) && (is_alone || layer == &raw.own || layer == &raw.override))
        check_meaning(raw, table.name, layer->tables[table.name], values);
    }
    stage[table.name] = values;
  }
  if (has_rewards(kind->role)) {
    stage["rewards"] = Json::array();
    for (const Layer* layer : {&file_top, &raw.own, &override_all, &raw.override}) {
      if (layer->tables.contains("rewards")) stage["rewards"] = layer->tables["rewards"];
    }
    require<UsageError>(
        !stage["rewards"].empty(), raw.where, ": stage \"", raw.name,
        "\" has no reward; add rewards = [{ use = \"...\" }]. `sluice help rewards` lists them");
    for (auto& reward : stage["rewards"]) reward.erase("where");
    stage["tools"] = Json::array();
    for (const Layer* layer : {&file_top, &raw.own, &override_all, &raw.override}) {
      if (layer->tables.contains("tools")) stage["tools"] = layer->tables["tools"];
    }
    for (auto& tool : stage["tools"]) tool.erase("where");
    check_tools(raw, stage);
  }
  take_from_stage(raw, stage["data"]);
  require<UsageError>(!text::reads_a_file(stage["data"]["use"].get<std::string>()) ||
                          !stage["data"]["from"].is_null() || !stage["data"]["path"].is_null() ||
                          !stage["data"]["test_path"].is_null() || !stage["data"]["mixture"].empty(),
                      raw.where, ": stage \"", raw.name, "\" has no data.path");
  return stage;
}

}  // namespace

Json resolve_recipe(const fs::path& file, const std::vector<std::string>& overrides) {
  const Source source{file.string(), fs::absolute(file).parent_path()};
  const toml::table document = parse_file(file);
  Layer top = read_layer(document, "", "", source);
  auto stages = read_stages(document, source);

  Layer override_all;
  const auto stage_names = names_of(stages, [](const auto& stage) { return stage.name; });
  for (const auto& text : overrides) {
    const Source from{"override \"" + text + "\"", fs::current_path()};
    for (const auto& [name, node] : parse_override(text)) {
      const auto stage =
          std::find_if(stages.begin(), stages.end(), [&](const auto& s) { return s.name == name.str(); });
      if (stage != stages.end()) {
        require<UsageError>(node.is_table(), from.name, ": a stage takes STAGE.KEY=VALUE");
        merge(stage->override, read_layer(*node.as_table(), "stage", stage->use, from));
        require<UsageError>(!stage->override.top.contains("use") && !stage->override.top.contains("name"),
                            from.name, ": the kind and the name of a stage cannot be overridden");
      } else {
        toml::table one;
        one.insert(name, node);
        merge(override_all, read_layer(one, "", "", from, stage_names));
      }
    }
  }
  merge(top, Layer{override_all.top, Json::object()});

  Json resolved = {{"schema", 1}};
  resolved.update(defaults_of(""));
  resolved["name"] = file.stem().string();
  if (top.top.contains("device") && top.top["device"] == "cuda") resolved["deterministic"] = false;
  resolved.update(top.top);
  for (const char* table : {"model", "tokenizer", "monitor"}) {
    resolved[table] = defaults_of(table);
    for (const Layer* layer : {&top, &override_all}) {
      if (layer->tables.contains(table)) resolved[table].update(layer->tables[table], true);
    }
    fill_inner_tables(table, resolved[table]);
  }
  resolved["stages"] = Json::array();
  for (const auto& stage : stages)
    resolved["stages"].push_back(resolve_stage(stage, stages, top, override_all));
  return resolved;
}

}  // namespace sluice::recipes
