// Reads the parts of a tokenizer.json that name their own type.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace sluice::text::internal {

// The array or object `key` of an object, without a copy. Throws DataError naming `where` when there is none.
const Json& json_part(const Json& object, const std::string& key, const std::string& where);

// How to make something of each type there is. `where` is the place in the file: "tokenizer.json: decoder".
template <class Made>
using ComponentTable =
    std::vector<std::pair<std::string_view, Made (*)(const Json&, const std::string& where)>>;

template <class Made>
Made read_component(const ComponentTable<Made>& table, const Json& component, const std::string& where) {
  const auto type = json_member<std::string>(component, "type", where);
  std::string known;
  for (const auto& [name, read] : table) {
    if (name == type) return read(component, where);
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  fail<DataError>(where, ": type \"", type, "\" is not supported; those that are: ", known);
}

// The components in the list `key`, in order.
template <class Made>
std::vector<Made> read_components(const ComponentTable<Made>& table, const Json& component,
                                  const std::string& key, const std::string& where) {
  const Json& list = json_part(component, key, where);
  std::vector<Made> out;
  for (size_t i = 0; i < list.size(); ++i) {
    out.push_back(read_component(table, list[i], where + "." + key + "[" + std::to_string(i) + "]"));
  }
  return out;
}

}  // namespace sluice::text::internal
