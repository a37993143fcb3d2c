// What a recipe says, value by value: checked against the schema, and refused by file, line and column.
#pragma once

#include <toml++/toml.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "recipes/schema.h"

namespace sluice::recipes {

// A file, or one override: what messages name, and where relative paths start.
struct RecipeSource {
  std::string name;
  std::filesystem::path folder;
};

// FILE:LINE:COLUMN, or the name of an override.
std::string at(const RecipeSource& source, const toml::node& node);

// What may have been meant by `word`, or all there are.
std::string suggestion(std::string_view word, const std::vector<std::string>& candidates);
std::string type_of(const toml::node& node);
// Of a table, "" for the recipe itself: its keys and the tables in it.
std::vector<std::string> key_names(const std::string& table);
// Null where there is none.
const SchemaTable* find_table(std::string_view name);

// These throw UsageError.
Json read_value(const SchemaKey& key, const toml::node& node, const RecipeSource& source);
Json read_table(const std::string& table, const toml::table& values, const RecipeSource& source);
// An option of a reward or a tool, which the schema does not know.
Json read_option(const toml::node& node, const RecipeSource& source);

template <class Items, class Name>
std::vector<std::string> names_of(const Items& items, Name name) {
  std::vector<std::string> names;
  for (const auto& item : items) names.push_back(name(item));
  return names;
}

}  // namespace sluice::recipes
