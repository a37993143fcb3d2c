#include "recipes/schema.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/files.h"

namespace sluice::recipes {
namespace {

TEST(Schema, HasEachKeyOnceInATableThatExists) {
  std::set<std::string> tables{"", "stage"};
  for (const auto& table : schema_tables()) EXPECT_TRUE(tables.insert(table.name).second) << table.name;
  std::set<std::pair<std::string, std::string>> seen;
  for (const auto& key : schema()) {
    EXPECT_TRUE(tables.contains(key.table)) << key.table;
    EXPECT_TRUE(seen.emplace(key.table, key.name).second) << key.table << "." << key.name;
    EXPECT_FALSE(key.help.empty()) << key.name;
    EXPECT_EQ(find_key(key.table, key.name), &key);
  }
  EXPECT_EQ(find_key("optim", "learning_rate"), nullptr);
}

TEST(Schema, DefaultsKeepTheirOwnRanges) {
  for (const auto& key : schema()) {
    SCOPED_TRACE(key.table + "." + key.name);
    const Json& value = key.default_value;
    if (value.is_null()) continue;
    if (key.type == KeyType::Integer) {
      EXPECT_TRUE(value.is_number_integer());
    }
    if (key.type == KeyType::Boolean) {
      EXPECT_TRUE(value.is_boolean());
    }
    if (value.is_number()) {
      EXPECT_GE(value.get<double>(), key.min.value());
      EXPECT_LE(value.get<double>(), key.max.value());
    }
    if (!key.choices.empty()) {
      EXPECT_TRUE(std::count(key.choices.begin(), key.choices.end(), value) == 1);
    }
  }
}

TEST(Schema, ConditionsAreOfKeysOfTheirTableAndOfStagesThatHaveIt) {
  for (const auto& key : schema()) {
    SCOPED_TRACE(key.table + "." + key.name);
    for (const auto& condition : key.only_with) {
      const SchemaKey* other = find_key(key.table, condition.key);
      ASSERT_NE(other, nullptr) << condition.key;
      EXPECT_EQ(other->default_value.is_number(), condition.values.empty()) << condition.key;
      for (const auto& value : condition.values)
        EXPECT_EQ(std::count(other->choices.begin(), other->choices.end(), value), 1) << value;
    }
    const auto table = std::ranges::find(schema_tables(), key.table, &SchemaTable::name);
    for (const auto role : key.roles) EXPECT_TRUE(table->serves(role));
  }
}

TEST(Schema, AKindOfStageSetsKeysThatItsTablesHave) {
  for (const auto& kind : stage_kinds()) {
    for (const auto& [path, value] : kind.defaults) {
      SCOPED_TRACE(kind.use + ": " + path);
      const auto dot = path.find('.');
      ASSERT_NE(find_key(path.substr(0, dot), path.substr(dot + 1)), nullptr);
    }
  }
}

TEST(Schema, ReferencePageIsUpToDate) {
  const auto page = read_file(std::string(SLUICE_SOURCE_DIR) + "/docs/recipe_reference.md");
  EXPECT_TRUE(page == schema_reference())
      << "docs/recipe_reference.md is not what the schema says; make it again with: "
         "build/sluice help recipe > docs/recipe_reference.md";
}

}  // namespace
}  // namespace sluice::recipes
