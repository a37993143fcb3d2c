// Every key a recipe may have: one table that gives parsing, defaults, ranges, help and did-you-mean.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace sluice::recipes {

// What a stage does: all kinds of one role have the same tables and are run by the same code.
enum class StageRole { Supervised, Preference, RewardModel, Policy, Sampling, Evaluation };
inline bool trains(StageRole role) { return role != StageRole::Sampling && role != StageRole::Evaluation; }
inline bool has_rewards(StageRole role) {
  return role == StageRole::Policy || role == StageRole::Sampling || role == StageRole::Evaluation;
}

// NumberTable: names of the recipe's own to numbers. Mixture: a list of { path, weight }.
enum class KeyType { Boolean, Integer, Number, Text, TextList, Path, NumberTable, Mixture };

// What another key of the same table has to be: one of these values, or none of them. Without values: a
// number above 0.
struct KeyCondition {
  std::string key;
  std::vector<std::string> values;
  bool none_of = false;

  bool holds(const Json& value) const {
    if (values.empty()) return value.get<double>() > 0.0;
    return (std::ranges::count(values, value.get<std::string>()) > 0) != none_of;
  }
};

struct SchemaKey {
  std::string table;  // "" for the recipe itself, "stage" for a stage's own keys, else the table's name
  std::string name;
  KeyType type = KeyType::Text;
  Json default_value;  // null: unset (a path or a name that has no default)
  std::optional<double> min, max;
  std::vector<std::string> choices;  // of a Text key; empty: any
  std::string help;                  // one sentence; units where there are any
  // Without all of these, and in a stage of another role than these (empty: any that has the table), the key
  // means nothing: naming it then is a mistake.
  std::vector<KeyCondition> only_with = {};
  std::vector<StageRole> roles = {};
};

// All keys, in the order the reference shows them.
const std::vector<SchemaKey>& schema();

struct SchemaTable {
  std::string name;
  std::vector<StageRole> roles;  // that it serves; empty: the recipe as a whole
  std::string help;
  std::string only_use = {};  // the one kind of those roles that it serves; empty: all

  bool serves(StageRole role) const { return std::ranges::count(roles, role) > 0; }
};
const std::vector<SchemaTable>& schema_tables();

// A kind of stage and the defaults it has of its own ("optim.lr" -> 2e-5).
struct StageKind {
  std::string use;
  StageRole role = StageRole::Policy;
  std::string help;
  std::vector<std::pair<std::string, Json>> defaults;
};
const std::vector<StageKind>& stage_kinds();
const StageKind* find_stage_kind(std::string_view use);

const SchemaKey* find_key(std::string_view table, std::string_view name);

// The reference page, docs/recipe_reference.md, made from the tables above.
std::string schema_reference();

}  // namespace sluice::recipes
