// One value held against a schema.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "rewards/internal/json_schema.h"

namespace sluice::rewards::internal {

class JsonValidation {
 public:
  explicit JsonValidation(const JsonSchema& schema) : schema_(schema) {}

  // As JsonSchema::problem(), of a value that stands at `place`.
  std::optional<std::string> problem(const Json& value, const Json& schema, const std::string& place);

 private:
  using Problem = std::optional<std::string>;

  Problem of_keywords(const Json& value, const Json& schema, const std::string& place);
  Problem of_any_type(const Json& value, const Json& schema, const std::string& place);
  Problem of_number(const Json& value, const Json& schema, const std::string& place) const;
  Problem of_string(const Json& value, const Json& schema, const std::string& place) const;
  Problem of_array(const Json& value, const Json& schema, const std::string& place);
  Problem of_elements(const Json& value, const Json& schema, const std::string& place);
  Problem of_object(const Json& value, const Json& schema, const std::string& place);
  Problem of_members(const Json& value, const Json& schema, const std::string& place);
  Problem of_combinations(const Json& value, const Json& schema, const std::string& place);
  bool keeps_to(const Json& value, const Json& schema, const std::string& place);
  bool same(const Json& left, const Json& right);  // numbers by value, members in any order
  void spend(int64_t steps);

  const JsonSchema& schema_;
  int64_t steps_ = 0;
  int depth_ = 0;
};

}  // namespace sluice::rewards::internal
