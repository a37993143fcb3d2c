#include "recipes/schema_help.h"

#include <algorithm>
#include <sstream>

#include "recipes/internal/schema_words.h"
#include "recipes/schema.h"

namespace sluice::recipes {
namespace {

using internal::full_name;
using internal::name_of;

constexpr size_t kColumns = 98;
constexpr size_t kIndent = 14;

// "  label       text", the text wrapped and its lines below each other.
void print_row(std::ostringstream& out, std::string label, const std::string& text) {
  label.resize(kIndent - 2, ' ');
  out << "  " << label;
  size_t column = kIndent;
  std::istringstream words(text);
  for (std::string word; words >> word; column += word.size() + 1) {
    if (column > kIndent && column + word.size() > kColumns) {
      out << '\n' << std::string(kIndent, ' ');
      column = kIndent;
    }
    out << (column > kIndent ? " " : "") << word;
  }
  out << '\n';
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

std::string number_text(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

std::string range_text(const SchemaKey& key) {
  if (!key.choices.empty()) return joined(key.choices, ", ");
  return key.min && key.max ? number_text(*key.min) + " to " + number_text(*key.max) : "";
}

std::string condition_text(const SchemaKey& key, const KeyCondition& condition) {
  const std::string other = key.table + "." + condition.key;
  if (condition.values.empty()) return other + " above 0";
  return other + (condition.none_of ? " other than " : " = ") + joined(condition.values, " or ");
}

// "sft 2e-05, dpo 1e-06": where a kind of stage has a default of its own.
std::string own_defaults(const SchemaKey& key) {
  std::string text;
  for (const auto& kind : stage_kinds()) {
    for (const auto& [name, value] : kind.defaults) {
      if (name == full_name(key)) text += (text.empty() ? "" : ", ") + kind.use + " " + value.dump();
    }
  }
  return text;
}

std::string example_value(const SchemaKey& key) {
  if (!key.choices.empty()) return Json(key.choices.back()).dump();
  switch (key.type) {
    case KeyType::Boolean:
      return key.default_value == true ? "false" : "true";
    case KeyType::Integer:
    case KeyType::Number:
      return key.default_value.is_null() || key.default_value == 0 ? number_text(*key.min > 0 ? *key.min : 1)
                                                                   : key.default_value.dump();
    case KeyType::TextList:
      return "[\"...\"]";
    case KeyType::Mixture:
      return "[{ path = \"a.jsonl\", weight = 2 }]";
    case KeyType::NumberTable:
      return "{ name = 1.0 }";
    default:
      return "\"...\"";
  }
}

std::string key_page(const SchemaKey& key) {
  const auto advice = internal::advice_of(key);
  std::ostringstream out;
  out << full_name(key) << (key.table == "stage" ? ", of a stage" : "") << '\n';
  print_row(out, "meaning", key.help);
  print_row(out, "type", internal::type_name(key.type) + (advice.unit.empty() ? "" : ", in " + advice.unit));
  print_row(out, "default", key.default_value.is_null() ? "none" : key.default_value.dump());
  if (const auto own = own_defaults(key); !own.empty()) print_row(out, "of stages", own);
  if (const auto range = range_text(key); !range.empty()) print_row(out, "range", range);
  if (!advice.when.empty()) print_row(out, "change it", advice.when);
  std::vector<std::string> needs;
  for (const auto& condition : key.only_with) needs.push_back(condition_text(key, condition));
  if (!needs.empty()) print_row(out, "only with", joined(needs, "; "));
  std::vector<std::string> roles;
  for (const auto role : key.roles) roles.push_back(name_of(role));
  if (!roles.empty()) print_row(out, "stages", joined(roles, ", "));
  const std::string assignment = full_name(key) + "=" + example_value(key);
  print_row(out, "set it",
            key.table == "stage" ? "in [[stages]], or STAGE." + assignment + " on the command line"
                                 : "in the recipe, or '" + assignment + "' on the command line");
  return out.str();
}

std::string first_sentence(const std::string& help) {
  const auto end = std::min(help.find(". "), help.find("; "));
  std::string text = end == std::string::npos ? help : help.substr(0, end) + ".";
  constexpr size_t kLongest = 66;
  if (text.size() > kLongest) text = text.substr(0, text.rfind(' ', kLongest)) + " ...";
  return text;
}

std::string table_page(const SchemaTable& table) {
  std::ostringstream out;
  out << '[' << table.name << "]\n";
  print_row(out, "meaning", table.help);
  size_t width = 0;
  for (const auto& key : schema()) {
    if (key.table == table.name) width = std::max(width, key.name.size());
  }
  for (const auto& key : schema()) {
    if (key.table != table.name) continue;
    out << "  " << key.name << std::string(width + 2 - key.name.size(), ' ') << first_sentence(key.help)
        << '\n';
  }
  out << "`sluice help " << table.name << ".KEY` says more of one\n";
  return out.str();
}

std::string kind_page(const StageKind& kind) {
  std::ostringstream out;
  out << kind.use << ", a kind of stage\n";
  print_row(out, "meaning", kind.help);
  std::vector<std::string> tables, defaults;
  for (const auto& table : schema_tables()) {
    if (table.serves(kind.role) && (table.only_use.empty() || table.only_use == kind.use))
      tables.push_back(table.name);
  }
  for (const auto& [name, value] : kind.defaults) defaults.push_back(name + " = " + value.dump());
  print_row(out, "tables", joined(tables, ", "));
  if (!defaults.empty()) print_row(out, "defaults", joined(defaults, ", "));
  print_row(out, "set it", "[[stages]] with use = \"" + kind.use + "\" in the recipe");
  return out.str();
}

// The keys that are meant: one of that full name, or all of that name.
std::vector<const SchemaKey*> keys_named(std::string_view word) {
  std::vector<const SchemaKey*> found;
  for (const auto& key : schema()) {
    if (full_name(key) == word) return {&key};
    if (key.name == word) found.push_back(&key);
  }
  return found;
}

}  // namespace

std::optional<std::string> explain(std::string_view word) {
  if (const auto* kind = find_stage_kind(word)) return kind_page(*kind);
  for (const auto& table : schema_tables()) {
    if (table.name == word || table.name.ends_with("." + std::string(word))) return table_page(table);
  }
  auto keys = keys_named(word);
  const auto dot = word.find('.');
  if (keys.empty() && dot != std::string_view::npos && find_stage_kind(word.substr(0, dot)) != nullptr)
    keys = keys_named(word.substr(dot + 1));
  if (keys.empty()) return std::nullopt;
  std::string pages;
  for (const auto* key : keys) pages += (pages.empty() ? "" : "\n") + key_page(*key);
  return pages;
}

std::vector<std::string> recipe_keys() {
  std::vector<std::string> keys;
  for (const auto& key : schema()) keys.push_back(full_name(key));
  return keys;
}

std::vector<std::string> recipe_words() {
  auto words = recipe_keys();
  for (const auto& table : schema_tables()) words.push_back(table.name);
  for (const auto& kind : stage_kinds()) words.push_back(kind.use);
  return words;
}

}  // namespace sluice::recipes
