// Every key a recipe may have: one table that gives parsing, defaults, ranges, help and did-you-mean.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace sluice::recipes {

enum class KeyType { Boolean, Integer, Number, Text, TextList, Path };

struct SchemaKey {
  std::string table;  // "" for the recipe itself, "stage" for a stage's own keys, else the table's name
  std::string name;
  KeyType type = KeyType::Text;
  Json default_value;  // null: unset (a path or a name that has no default)
  std::optional<double> min, max;
  std::vector<std::string> choices;  // of a Text key; empty: any
  std::string help;                  // one sentence; units where there are any
};

// All keys, in the order the reference shows them.
const std::vector<SchemaKey>& schema();

struct SchemaTable {
  std::string name;
  std::vector<std::string> stages;  // kinds of stage it serves; empty: the recipe as a whole
  std::string help;
};
const std::vector<SchemaTable>& schema_tables();

// A kind of stage and the defaults it has of its own ("optim.lr" -> 2e-5).
struct StageKind {
  std::string use;
  std::string help;
  std::vector<std::pair<std::string, Json>> defaults;
};
const std::vector<StageKind>& stage_kinds();

const SchemaKey* find_key(std::string_view table, std::string_view name);

// The reference page, docs/recipe_reference.md, made from the tables above.
std::string schema_reference();

}  // namespace sluice::recipes
