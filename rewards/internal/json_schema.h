// JSON Schema (draft 2020-12): what there is of it, and whether a value keeps to a schema.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/json.h"
#include "rewards/internal/pattern.h"

namespace sluice::rewards::internal {

// The keywords of validation and those that combine schemas, with $ref inside the document. Title,
// description, format and the like say nothing about a value; every other word is refused.
class JsonSchema {
 public:
  // Throws UsageError naming `where` and the place in the schema for an unknown keyword (with the nearest
  // one), a keyword of a wrong type, a $ref that leads nowhere and an expression that does not compile.
  JsonSchema(Json schema, std::string where);

  // What is wrong with the value, beginning with its place: "/items/0: 3 is no string"; nothing when it keeps
  // to the schema. Throws Error when it takes more than a million steps, or references go round in a circle.
  std::optional<std::string> problem(const Json& value) const;

 private:
  void check(const Json& schema, const std::string& place, int depth);
  void check_keyword(const std::string& keyword, const Json& value, const std::string& place, int depth);
  void check_reference(const Json& value, const std::string& place);

  friend class JsonValidation;
  const Json& target(const std::string& reference) const;

  const Json schema_;
  const std::string where_;
  std::map<std::string, Pattern, std::less<>> patterns_;
  std::set<std::string> references_;
};

}  // namespace sluice::rewards::internal
