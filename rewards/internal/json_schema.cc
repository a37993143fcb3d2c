#include "rewards/internal/json_schema.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/nearest.h"
#include "rewards/internal/ascii.h"
#include "rewards/internal/json_validation.h"

namespace sluice::rewards::internal {
namespace {

constexpr int kMaxDepth = 64;

// What stands behind a keyword.
enum class Takes {
  Anything,
  Schema,
  Schemas,
  NamedSchemas,
  Type,
  Values,
  Number,
  PositiveNumber,
  Count,
  Truth,
  Names,
  NamedNames,
  Expression,
  Reference
};

struct Keyword {
  std::string_view name;
  Takes takes;
};

constexpr Keyword kKeywords[] = {
    {"type", Takes::Type},
    {"enum", Takes::Values},
    {"const", Takes::Anything},
    {"minimum", Takes::Number},
    {"maximum", Takes::Number},
    {"exclusiveMinimum", Takes::Number},
    {"exclusiveMaximum", Takes::Number},
    {"multipleOf", Takes::PositiveNumber},
    {"minLength", Takes::Count},
    {"maxLength", Takes::Count},
    {"pattern", Takes::Expression},
    {"items", Takes::Schema},
    {"prefixItems", Takes::Schemas},
    {"minItems", Takes::Count},
    {"maxItems", Takes::Count},
    {"uniqueItems", Takes::Truth},
    {"contains", Takes::Schema},
    {"minContains", Takes::Count},
    {"maxContains", Takes::Count},
    {"properties", Takes::NamedSchemas},
    {"patternProperties", Takes::NamedSchemas},
    {"additionalProperties", Takes::Schema},
    {"propertyNames", Takes::Schema},
    {"required", Takes::Names},
    {"minProperties", Takes::Count},
    {"maxProperties", Takes::Count},
    {"dependentRequired", Takes::NamedNames},
    {"dependentSchemas", Takes::NamedSchemas},
    {"allOf", Takes::Schemas},
    {"anyOf", Takes::Schemas},
    {"oneOf", Takes::Schemas},
    {"not", Takes::Schema},
    {"if", Takes::Schema},
    {"then", Takes::Schema},
    {"else", Takes::Schema},
    {"$ref", Takes::Reference},
    {"$defs", Takes::NamedSchemas},
    {"definitions", Takes::NamedSchemas},
    // These say nothing about a value.
    {"title", Takes::Anything},
    {"description", Takes::Anything},
    {"default", Takes::Anything},
    {"examples", Takes::Anything},
    {"format", Takes::Anything},
    {"deprecated", Takes::Anything},
    {"readOnly", Takes::Anything},
    {"writeOnly", Takes::Anything},
    {"$schema", Takes::Anything},
    {"$id", Takes::Anything},
    {"$comment", Takes::Anything},
};

constexpr std::string_view kTypes[] = {"null", "boolean", "integer", "number", "string", "array", "object"};

bool is_type(const Json& value) {
  return value.is_string() && std::ranges::count(kTypes, value.get_ref<const std::string&>()) > 0;
}

bool is_list_of_different(const Json& value, bool (*each)(const Json&)) {
  if (!value.is_array()) return false;
  for (auto item = value.begin(); item != value.end(); ++item) {
    if (!each(*item) || std::find(value.begin(), item, *item) != item) return false;
  }
  return true;
}

bool is_count(const Json& value) {
  const double number = value.is_number() ? value.get<double>() : -1.0;
  return number >= 0.0 && number < 1e15 && std::floor(number) == number;
}

bool is_text(const Json& value) { return value.is_string(); }
bool is_names(const Json& value) { return is_list_of_different(value, is_text); }

// What the keyword wants where this is something else, for the message.
const char* mistake(Takes takes, const Json& value) {
  switch (takes) {
    case Takes::Schemas:
      return value.is_array() && !value.empty() ? nullptr : "a list of schemas";
    case Takes::NamedSchemas:
      return value.is_object() ? nullptr : "an object of schemas";
    case Takes::Type:
      return is_type(value) || (is_list_of_different(value, is_type) && !value.empty())
                 ? nullptr
                 : "null, boolean, integer, number, string, array, object or a list of them";
    case Takes::Values:
      return value.is_array() ? nullptr : "a list";
    case Takes::Number:
      return value.is_number() ? nullptr : "a number";
    case Takes::PositiveNumber:
      return value.is_number() && value.get<double>() > 0.0 ? nullptr : "a number above 0";
    case Takes::Count:
      return is_count(value) ? nullptr : "a whole number from 0";
    case Takes::Truth:
      return value.is_boolean() ? nullptr : "true or false";
    case Takes::Names:
      return is_names(value) ? nullptr : "a list of different names";
    case Takes::NamedNames:
      return value.is_object() && std::ranges::all_of(value, is_names)
                 ? nullptr
                 : "an object of lists of different names";
    case Takes::Expression:
    case Takes::Reference:
      return value.is_string() ? nullptr : "text";
    default:
      return nullptr;
  }
}

// ~1 and ~0 of a JSON pointer; and %25 of an address.
std::string unescaped(std::string_view part) {
  std::string out;
  for (size_t at = 0; at < part.size(); ++at) {
    const std::string_view two = part.substr(at, 2), three = part.substr(at, 3);
    if (two == "~1" || two == "~0") {
      out += two == "~1" ? '/' : '~';
      ++at;
    } else if (three == "%25" || three == "%22") {
      out += three == "%25" ? '%' : '"';
      at += 2;
    } else {
      out += part[at];
    }
  }
  return out;
}

}  // namespace

JsonSchema::JsonSchema(Json schema, std::string where)
    : schema_(std::move(schema)), where_(std::move(where)) {
  check(schema_, "", 0);
  // What a reference leads to may stand where nothing else is read as a schema, and have references of its
  // own.
  for (std::set<std::string> checked; checked.size() < references_.size();) {
    for (const auto& reference : std::set(references_)) {
      if (checked.insert(reference).second) check(target(reference), reference.substr(1), 0);
    }
  }
}

void JsonSchema::check(const Json& schema, const std::string& place, int depth) {
  require<UsageError>(depth < kMaxDepth, where_, ": the schema is deeper than ", kMaxDepth, " levels at ",
                      place);
  if (schema.is_boolean()) return;
  require<UsageError>(schema.is_object(), where_, ": a schema is an object, true or false; at ",
                      place.empty() ? "/" : place, " is ", schema.type_name());
  for (const auto& item : schema.items())
    check_keyword(item.key(), item.value(), place + "/" + item.key(), depth + 1);
}

void JsonSchema::check_keyword(const std::string& keyword, const Json& value, const std::string& place,
                               int depth) {
  const auto known = std::ranges::find(kKeywords, keyword, &Keyword::name);
  if (known == std::end(kKeywords)) {
    std::vector<std::string> names;
    for (const auto& other : kKeywords) names.emplace_back(other.name);
    fail<UsageError>(where_, ": the schema's ", place, " is no keyword that is understood",
                     did_you_mean(keyword, names));
  }
  const char* wanted = mistake(known->takes, value);
  require<UsageError>(wanted == nullptr, where_, ": the schema's ", place, " is ",
                      wanted == nullptr ? "" : wanted, ", saw ", value.type_name());
  if (known->takes == Takes::Schema) check(value, place, depth);
  if (known->takes == Takes::Schemas || known->takes == Takes::NamedSchemas) {
    for (const auto& item : value.items()) check(item.value(), place + "/" + item.key(), depth);
  }
  const auto compile = [&](const std::string& pattern) {
    patterns_.try_emplace(pattern, pattern, where_ + ": the schema's " + place);
  };
  if (known->takes == Takes::Expression) compile(value.get<std::string>());
  if (keyword == "patternProperties") {
    for (const auto& item : value.items()) compile(item.key());
  }
  if (known->takes == Takes::Reference) check_reference(value, place);
}

void JsonSchema::check_reference(const Json& value, const std::string& place) {
  const auto& reference = value.get_ref<const std::string&>();
  require<UsageError>(reference == "#" || reference.starts_with("#/"), where_, ": the schema's ", place,
                      " is \"", reference, "\"; a reference stays in the document: # or #/$defs/NAME");
  const Json& found = target(reference);
  require<UsageError>(found.is_object() || found.is_boolean(), where_, ": the schema's ", place,
                      " leads to no schema: \"", reference, "\"");
  references_.insert(reference);
}

const Json& JsonSchema::target(const std::string& reference) const {
  const Json* at = &schema_;
  for (size_t begin = 2; begin <= reference.size();) {
    const size_t end = std::min(reference.find('/', begin), reference.size());
    const std::string name = unescaped(std::string_view(reference).substr(begin, end - begin));
    const bool is_index =
        at->is_array() && !name.empty() && name.size() < 10 && std::ranges::all_of(name, is_digit);
    if (at->is_object() && at->contains(name)) {
      at = &at->at(name);
    } else if (is_index && std::stoul(name) < at->size()) {
      at = &at->at(std::stoul(name));
    } else {
      fail<UsageError>(where_, ": the schema has nothing at \"", reference, "\"");
    }
    begin = end + 1;
  }
  return *at;
}

std::optional<std::string> JsonSchema::problem(const Json& value) const {
  return JsonValidation(*this).problem(value, schema_, "");
}

}  // namespace sluice::rewards::internal
