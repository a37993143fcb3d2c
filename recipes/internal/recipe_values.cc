#include "recipes/internal/recipe_values.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/nearest.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

std::string listing(const std::vector<std::string>& candidates) {
  std::string list;
  for (const auto& candidate : candidates) list += (list.empty() ? "" : ", ") + candidate;
  return "; there are: " + list;
}

// [{ path = "a.jsonl", weight = 2.0 }, ...]
Json read_mixture(const toml::node& node, const std::string& who, const RecipeSource& source) {
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

}  // namespace

std::string at(const RecipeSource& source, const toml::node& node) {
  const auto begin = node.source().begin;
  if (begin.line == 0) return source.name;
  return source.name + ":" + std::to_string(begin.line) + ":" + std::to_string(begin.column);
}

std::string suggestion(std::string_view word, const std::vector<std::string>& candidates) {
  return did_you_mean(word, candidates, listing(candidates));
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

Json read_value(const SchemaKey& key, const toml::node& node, const RecipeSource& source) {
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

Json read_table(const std::string& table, const toml::table& values, const RecipeSource& source) {
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

Json read_option(const toml::node& node, const RecipeSource& source) {
  if (node.is_boolean()) return node.as_boolean()->get();
  if (node.is_integer()) return node.as_integer()->get();
  if (node.is_floating_point()) return node.as_floating_point()->get();
  if (node.is_string()) return node.as_string()->get();
  if (node.is_array()) {
    Json list = Json::array();
    for (const auto& item : *node.as_array()) list.push_back(read_option(item, source));
    return list;
  }
  fail<UsageError>(at(source, node), ": an option is text, a number, true or false, or a list, got ",
                   type_of(node));
}

}  // namespace sluice::recipes
