#include "rewards/internal/json_validation.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/error.h"

namespace sluice::rewards::internal {
namespace {

constexpr int64_t kMaxSteps = 1'000'000;
constexpr int kMaxDepth = 400;    // of schemas in schemas; a value is no deeper than its parser lets it
constexpr size_t kMaxShown = 60;  // of a value in a message

using Problem = std::optional<std::string>;

const Json* find(const Json& schema, const char* keyword) {
  const auto found = schema.find(keyword);
  return found == schema.end() ? nullptr : &*found;
}

bool is_whole(const Json& value) {
  return value.is_number_integer() || (value.is_number_float() && std::isfinite(value.get<double>()) &&
                                       std::floor(value.get<double>()) == value.get<double>());
}

bool has_type(const Json& value, std::string_view type) {
  if (type == "integer") return is_whole(value);
  if (type == "number") return value.is_number();
  return type == value.type_name();  // null, boolean, string, array, object are called so
}

Problem wrong(const std::string& place, const Json& value, const std::string& why) {
  std::string shown = value.is_structured() ? std::string(value.is_array() ? "the array" : "the object")
                                            : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (shown.size() > kMaxShown) shown = shown.substr(0, kMaxShown) + "...";
  return (place.empty() ? "/" : place) + ": " + shown + " " + why;
}

int64_t characters_in(const std::string& text) {
  return std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

// By value: of 64 bits, with a sign or without, a long double holds every one.
long double exact(const Json& number) {
  if (number.is_number_unsigned()) return static_cast<long double>(number.get<uint64_t>());
  if (number.is_number_integer()) return static_cast<long double>(number.get<int64_t>());
  return number.get<double>();
}

int compare(const Json& left, const Json& right) {
  const long double a = exact(left), b = exact(right);
  return a < b ? -1 : a > b ? 1 : 0;
}

bool is_multiple(const Json& value, const Json& of) {
  if (value.is_number_integer() && of.is_number_integer() && !value.is_number_unsigned() &&
      !of.is_number_unsigned())
    return value.get<int64_t>() % of.get<int64_t>() == 0;
  const long double ratio =
      static_cast<long double>(value.get<double>()) / static_cast<long double>(of.get<double>());
  return std::isfinite(ratio) &&
         std::abs(ratio - std::round(ratio)) <= 1e-15L * std::max(1.0L, std::abs(ratio));
}

bool is_outside(const Json& schema, const char* least, const char* most, int64_t size) {
  const Json* low = find(schema, least);
  const Json* high = find(schema, most);
  return (low != nullptr && static_cast<double>(size) < low->get<double>()) ||
         (high != nullptr && static_cast<double>(size) > high->get<double>());
}

}  // namespace

void JsonValidation::spend(int64_t steps) {
  steps_ += steps;
  require(steps_ <= kMaxSteps, schema_.where_, ": the value takes more than ", kMaxSteps, " steps to check");
}

Problem JsonValidation::problem(const Json& value, const Json& schema, const std::string& place) {
  spend(1);
  if (schema.is_boolean()) return schema.get<bool>() ? std::nullopt : wrong(place, value, "is not allowed");
  require(++depth_ <= kMaxDepth, schema_.where_, ": the schema's references go round in a circle at ",
          place.empty() ? "/" : place);
  auto found = of_keywords(value, schema, place);
  --depth_;
  return found;
}

Problem JsonValidation::of_keywords(const Json& value, const Json& schema, const std::string& place) {
  spend(static_cast<int64_t>(schema.size()));
  if (const Json* reference = find(schema, "$ref")) {
    if (auto found = problem(value, schema_.target(reference->get_ref<const std::string&>()), place))
      return found;
  }
  if (auto found = of_any_type(value, schema, place)) return found;
  Problem found;
  if (value.is_number()) found = of_number(value, schema, place);
  if (value.is_string()) found = of_string(value, schema, place);
  if (value.is_array()) found = of_array(value, schema, place);
  if (value.is_object()) found = of_object(value, schema, place);
  return found ? found : of_combinations(value, schema, place);
}

Problem JsonValidation::of_any_type(const Json& value, const Json& schema, const std::string& place) {
  if (const Json* type = find(schema, "type")) {
    const auto is = [&](const Json& one) { return has_type(value, one.get_ref<const std::string&>()); };
    const bool right = type->is_array() ? std::ranges::any_of(*type, is) : is(*type);
    if (!right) return wrong(place, value, "is not of type " + type->dump());
  }
  if (const Json* constant = find(schema, "const"); constant != nullptr && !same(value, *constant))
    return wrong(place, value, "is not the one that is allowed");
  if (const Json* values = find(schema, "enum")) {
    if (std::ranges::none_of(*values, [&](const Json& one) { return same(value, one); }))
      return wrong(place, value, "is none of those allowed");
  }
  return std::nullopt;
}

Problem JsonValidation::of_number(const Json& value, const Json& schema, const std::string& place) const {
  const auto compared = [&](const char* keyword, auto refused) {
    const Json* bound = find(schema, keyword);
    return bound != nullptr && refused(compare(value, *bound));
  };
  if (compared("minimum", [](int c) { return c < 0; }) ||
      compared("exclusiveMinimum", [](int c) { return c <= 0; }))
    return wrong(place, value, "is too small");
  if (compared("maximum", [](int c) { return c > 0; }) ||
      compared("exclusiveMaximum", [](int c) { return c >= 0; }))
    return wrong(place, value, "is too large");
  if (const Json* of = find(schema, "multipleOf"); of != nullptr && !is_multiple(value, *of))
    return wrong(place, value, "is no multiple of " + of->dump());
  return std::nullopt;
}

Problem JsonValidation::of_string(const Json& value, const Json& schema, const std::string& place) const {
  const auto& text = value.get_ref<const std::string&>();
  if (is_outside(schema, "minLength", "maxLength", characters_in(text)))
    return wrong(place, value, "has too few or too many characters");
  if (const Json* pattern = find(schema, "pattern")) {
    if (!schema_.patterns_.find(pattern->get_ref<const std::string&>())->second.search(text))
      return wrong(place, value, "does not match " + pattern->dump());
  }
  return std::nullopt;
}

Problem JsonValidation::of_array(const Json& value, const Json& schema, const std::string& place) {
  if (is_outside(schema, "minItems", "maxItems", static_cast<int64_t>(value.size())))
    return wrong(place, value, "has too few or too many elements");
  if (const Json* unique = find(schema, "uniqueItems"); unique != nullptr && unique->get<bool>()) {
    for (size_t i = 0; i < value.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (same(value[i], value[j])) return wrong(place, value, "has an element twice");
      }
    }
  }
  return of_elements(value, schema, place);
}

Problem JsonValidation::of_elements(const Json& value, const Json& schema, const std::string& place) {
  const Json* prefix = find(schema, "prefixItems");
  const Json* rest = find(schema, "items");
  const size_t fixed = prefix == nullptr ? 0 : prefix->size();
  for (size_t i = 0; i < value.size(); ++i) {
    const Json* element = i < fixed ? &(*prefix)[i] : rest;
    if (element == nullptr) break;
    if (auto found = problem(value[i], *element, place + "/" + std::to_string(i))) return found;
  }
  const Json* contains = find(schema, "contains");
  if (contains == nullptr) return std::nullopt;
  const auto count =
      std::ranges::count_if(value, [&](const Json& element) { return keeps_to(element, *contains, place); });
  const bool none = count == 0 && find(schema, "minContains") == nullptr;
  if (none || is_outside(schema, "minContains", "maxContains", count))
    return wrong(place, value, "has too few or too many elements of the kind it should contain");
  return std::nullopt;
}

Problem JsonValidation::of_object(const Json& value, const Json& schema, const std::string& place) {
  if (is_outside(schema, "minProperties", "maxProperties", static_cast<int64_t>(value.size())))
    return wrong(place, value, "has too few or too many members");
  const auto lacking = [&](const Json& names) -> Problem {
    for (const Json& name : names) {
      if (!value.contains(name.get_ref<const std::string&>()))
        return wrong(place, value, "has no member " + name.dump());
    }
    return std::nullopt;
  };
  if (const Json* required = find(schema, "required")) {
    if (auto found = lacking(*required)) return found;
  }
  if (const Json* dependent = find(schema, "dependentRequired")) {
    for (const auto& [name, others] : dependent->items()) {
      if (!value.contains(name)) continue;
      if (auto found = lacking(others)) return found;
    }
  }
  return of_members(value, schema, place);
}

Problem JsonValidation::of_members(const Json& value, const Json& schema, const std::string& place) {
  const Json* named = find(schema, "properties");
  const Json* matching = find(schema, "patternProperties");
  const Json* others = find(schema, "additionalProperties");
  const Json* names = find(schema, "propertyNames");
  for (const auto& [name, member] : value.items()) {
    const std::string below = place + "/" + name;
    spend(1);
    bool known = false;
    if (names != nullptr) {
      if (auto found = problem(Json(name), *names, below)) return found;
    }
    if (named != nullptr && named->contains(name)) {
      known = true;
      if (auto found = problem(member, named->at(name), below)) return found;
    }
    if (matching != nullptr) {
      for (const auto& [pattern, kept] : matching->items()) {
        if (!schema_.patterns_.find(pattern)->second.search(name)) continue;
        known = true;
        if (auto found = problem(member, kept, below)) return found;
      }
    }
    if (!known && others != nullptr) {
      if (auto found = problem(member, *others, below)) return found;
    }
  }
  return std::nullopt;
}

Problem JsonValidation::of_combinations(const Json& value, const Json& schema, const std::string& place) {
  const auto count = [&](const Json& schemas) {
    return std::ranges::count_if(schemas, [&](const Json& one) { return keeps_to(value, one, place); });
  };
  if (const Json* all = find(schema, "allOf")) {
    for (const Json& one : *all) {
      if (auto found = problem(value, one, place)) return found;
    }
  }
  if (const Json* any = find(schema, "anyOf"); any != nullptr && count(*any) == 0)
    return wrong(place, value, "is none of anyOf");
  if (const Json* one = find(schema, "oneOf"); one != nullptr && count(*one) != 1)
    return wrong(place, value, "is not exactly one of oneOf");
  if (const Json* refused = find(schema, "not"); refused != nullptr && keeps_to(value, *refused, place))
    return wrong(place, value, "is what `not` refuses");
  if (const Json* condition = find(schema, "if")) {
    const Json* next = find(schema, keeps_to(value, *condition, place) ? "then" : "else");
    if (next != nullptr) {
      if (auto found = problem(value, *next, place)) return found;
    }
  }
  const Json* dependent = find(schema, "dependentSchemas");
  if (dependent == nullptr || !value.is_object()) return std::nullopt;
  for (const auto& [name, kept] : dependent->items()) {
    if (!value.contains(name)) continue;
    if (auto found = problem(value, kept, place)) return found;
  }
  return std::nullopt;
}

bool JsonValidation::keeps_to(const Json& value, const Json& schema, const std::string& place) {
  return !problem(value, schema, place);
}

bool JsonValidation::same(const Json& left, const Json& right) {
  spend(1);
  if (left.is_number() && right.is_number()) return compare(left, right) == 0;
  if (left.type() != right.type() || left.size() != right.size()) return false;
  if (left.is_array()) {
    return std::equal(left.begin(), left.end(), right.begin(),
                      [&](const Json& a, const Json& b) { return same(a, b); });
  }
  if (!left.is_object()) return left == right;
  for (const auto& [name, member] : left.items()) {
    spend(static_cast<int64_t>(right.size()));
    const auto other = right.find(name);
    if (other == right.end() || !same(member, *other)) return false;
  }
  return true;
}

}  // namespace sluice::rewards::internal
