#include "recipes/internal/recipe_text.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/nearest.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

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

}  // namespace

toml::table parse_recipe(const fs::path& file) {
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

}  // namespace sluice::recipes
