#include <sstream>

#include "recipes/internal/schema_words.h"
#include "recipes/schema.h"

namespace sluice::recipes {
namespace {

using internal::name_of;
using internal::type_name;

std::string range_of(const SchemaKey& key) {
  std::ostringstream out;
  if (!key.choices.empty()) {
    for (size_t i = 0; i < key.choices.size(); ++i) out << (i ? ", " : "") << '`' << key.choices[i] << '`';
  } else if (key.min && key.max) {
    out << *key.min << " to " << *key.max;
  }
  return out.str();
}

std::string conditions_of(const SchemaKey& key) {
  std::string all;
  for (const auto& [other, values, none_of] : key.only_with) {
    std::string text = values.empty() ? "above 0" : "";
    for (const auto& value : values) text += (text.empty() ? (none_of ? "not " : "") : ", ") + value;
    all += (all.empty() ? " (`" : "; `") + other + "`: " + text;
  }
  return all.empty() ? "" : all + ")";
}

std::string stages_of(const SchemaKey& key) {
  std::string names;
  for (const auto role : key.roles) names += (names.empty() ? "" : ", ") + name_of(role);
  return names.empty() ? "" : " (stages: " + names + ")";
}

}  // namespace

std::string schema_reference() {
  std::ostringstream out;
  out << "# Recipe reference\n\nMade by `sluice help recipe`. A table at the top of a recipe is the default "
         "of every "
         "stage;\na table inside a stage is that stage's own. `sluice check RECIPE` reads a recipe and says "
         "what it "
         "would do.\n";
  const auto section = [&out](const std::string& title, const std::string& help, const std::string& table) {
    out << "\n## " << title << "\n\n"
        << help << "\n\n| key | type | default | range | meaning |\n|---|---|---|---|---|\n";
    for (const auto& key : schema()) {
      if (key.table != table) continue;
      out << "| `" << key.name << "` | " << type_name(key.type) << " | "
          << (key.default_value.is_null() ? std::string() : "`" + key.default_value.dump() + "`") << " | "
          << range_of(key) << " | " << key.help << stages_of(key) << conditions_of(key) << " |\n";
    }
  };
  section("The recipe itself", "Keys at the top of the file.", "");
  section("`[[stages]]`", "Each stage, in the order in which they run.", "stage");
  out << "\n| `use` | what it does | own defaults |\n|---|---|---|\n";
  for (const auto& kind : stage_kinds()) {
    out << "| `" << kind.use << "` | " << kind.help << " | ";
    for (const auto& [key, value] : kind.defaults) out << "`" << key << " = " << value.dump() << "` ";
    out << "|\n";
  }
  for (const auto& table : schema_tables()) {
    std::string help = table.help;
    if (table.serves(StageRole::Supervised) && table.serves(StageRole::Policy) &&
        !table.serves(StageRole::Evaluation))
      help += " For stages that train.";
    if (table.roles == std::vector{StageRole::Preference}) help += " Of stages that learn from preferences.";
    if (table.roles == std::vector{StageRole::RewardModel}) help += " Of stages that train a reward model.";
    if (table.roles == std::vector{StageRole::Policy}) help += " Of stages that learn from rollouts.";
    section("`[" + table.name + "]`", help, table.name);
  }
  out << "\n## `rewards`\n\nA list of scorers: `rewards = [{ use = \"exact_answer\", weight = 1.0 }]`, at "
         "the top or in a "
         "stage.\n`name` is how it appears in the metrics (default: `use`). What each understands beyond "
         "that:\n`sluice "
         "help rewards`.\n";
  out << "\n## `tools`\n\nA list of what completions may call while they are written (docs/tools.md): `tools "
         "= "
         "[{ use = \"calculator\" },\n{ command = \"./search\" }]`, at the top or in a stage with rollouts. "
         "`name` is by what a policy calls it (default: `use`, or\nthe program). What each understands "
         "beyond "
         "that: `sluice help tools`.\n";
  return out.str();
}

}  // namespace sluice::recipes
