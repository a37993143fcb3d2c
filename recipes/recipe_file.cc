#include "recipes/internal/recipe_file.h"

#include <algorithm>

#include "base/error.h"
#include "recipes/internal/recipe_rewards.h"
#include "recipes/internal/recipe_text.h"
#include "recipes/internal/recipe_values.h"
#include "recipes/schema.h"
#include "text/dataset.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

bool serves(const SchemaTable& table, const std::string& use) {
  const StageKind* kind = find_stage_kind(use);
  return kind != nullptr && table.serves(kind->role) && (table.only_use.empty() || table.only_use == use);
}

// What one source says about the recipe as a whole and about one stage: tables of checked values.
struct Layer {
  Json top = Json::object();     // keys of the recipe itself
  Json tables = Json::object();  // table -> key -> value; "rewards", "tools" -> list
};

// Reads keys, tables, rewards and tools out of `values`; `scope` is "" for the recipe or "stage" for a
// stage's own keys. `others` are further names that may have been meant.
Layer read_layer(const toml::table& values, const std::string& scope, const std::string& use,
                 const RecipeSource& source, const std::vector<std::string>& others = {}) {
  Layer layer;
  for (const auto& [key_name, node] : values) {
    const std::string name(key_name.str());
    if (scope.empty() && name == "stages") continue;
    // "model.lora" in quotes is no key: the table of that name lies inside `model`.
    const SchemaTable* table = name.find('.') == std::string::npos ? find_table(name) : nullptr;
    if (name == "rewards") {
      layer.tables["rewards"] = read_rewards(node, source);
    } else if (name == "tools") {
      layer.tables["tools"] = read_tools(node, source);
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

std::vector<RawStage> read_stages(const toml::table& file, const RecipeSource& source) {
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
  const RecipeSource source{file.string(), fs::absolute(file).parent_path()};
  const toml::table document = parse_recipe(file);
  Layer top = read_layer(document, "", "", source);
  auto stages = read_stages(document, source);

  Layer override_all;
  const auto stage_names = names_of(stages, [](const auto& stage) { return stage.name; });
  for (const auto& text : overrides) {
    const RecipeSource from{"override \"" + text + "\"", fs::current_path()};
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
