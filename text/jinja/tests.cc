#include "text/jinja/tests.h"

#include <map>
#include <string>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

// A test of the value alone.
template <bool (*holds)(const Value&)>
bool alone(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "the test", std::move(arguments), {});
  return holds(value);
}

bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_none(const Value& value) { return value.is_none(); }
bool is_boolean(const Value& value) { return value.as_boolean() != nullptr; }
bool is_true(const Value& value) { return is_boolean(value) && *value.as_boolean(); }
bool is_false(const Value& value) { return is_boolean(value) && !*value.as_boolean(); }
bool is_integer(const Value& value) { return value.as_integer() && !is_boolean(value); }
bool is_float(const Value& value) { return value.as_real() != nullptr; }
bool is_number(const Value& value) { return value.as_number().has_value(); }
bool is_string(const Value& value) { return value.as_text() != nullptr; }
bool is_mapping(const Value& value) { return value.as<const Dict>() != nullptr; }
bool is_callable(const Value& value) { return value.as<const Function>() != nullptr; }
bool is_escaped(const Value& value) { return value.is_markup(); }

bool is_sequence(const Value& value) {
  const List* list = value.as<const List>();
  return is_string(value) || is_mapping(value) || value.is_undefined() ||
         (list != nullptr && list->kind <= List::Kind::Range);
}

bool is_iterable(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "iterable", std::move(arguments), {});
  return try_iterate(context, value).has_value();
}

template <bool (*holds)(std::string_view)>
bool of_text(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "the test", std::move(arguments), {});
  return holds(to_text(context, value));
}

template <int64_t rest>
bool parity(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "the test", std::move(arguments), {});
  const Value left = arithmetic(context, Operator::Modulo, value, Value::integer(2));
  return equal(context, left, Value::integer(rest));
}

bool divisible_by(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "divisibleby", std::move(arguments), {"num"}, 1);
  const Value left = arithmetic(context, Operator::Modulo, value, *bound.get(0));
  return equal(context, left, Value::integer(0));
}

template <Operator op>
bool compares(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "the test", std::move(arguments), {"other"}, 1);
  return compare(context, op, value, *bound.get(0));
}

bool same_as(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "sameas", std::move(arguments), {"other"}, 1);
  const bool shared = value.as<const List>() != nullptr || is_mapping(value);
  if (shared) return value.data() == bound.get(0)->data();
  return value.data().index() == bound.get(0)->data().index() && equal(context, value, *bound.get(0));
}

bool is_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "filter", std::move(arguments), {});
  return value.as_text() != nullptr && find_filter(*value.as_text()) != nullptr;
}

bool is_test(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "test", std::move(arguments), {});
  return value.as_text() != nullptr && find_test(*value.as_text()) != nullptr;
}

}  // namespace

Test find_test(std::string_view name) {
  static const std::map<std::string, Test, std::less<>> kTests = {
      {"defined", alone<is_defined>},
      {"undefined", alone<is_undefined>},
      {"none", alone<is_none>},
      {"boolean", alone<is_boolean>},
      {"true", alone<is_true>},
      {"false", alone<is_false>},
      {"integer", alone<is_integer>},
      {"float", alone<is_float>},
      {"number", alone<is_number>},
      {"string", alone<is_string>},
      {"mapping", alone<is_mapping>},
      {"sequence", alone<is_sequence>},
      {"iterable", is_iterable},
      {"callable", alone<is_callable>},
      {"escaped", alone<is_escaped>},
      {"lower", of_text<is_lower>},
      {"upper", of_text<is_upper>},
      {"odd", parity<1>},
      {"even", parity<0>},
      {"divisibleby", divisible_by},
      {"sameas", same_as},
      {"in", compares<Operator::In>},
      {"eq", compares<Operator::Equal>},
      {"equalto", compares<Operator::Equal>},
      {"==", compares<Operator::Equal>},
      {"ne", compares<Operator::NotEqual>},
      {"!=", compares<Operator::NotEqual>},
      {"lt", compares<Operator::Less>},
      {"lessthan", compares<Operator::Less>},
      {"<", compares<Operator::Less>},
      {"le", compares<Operator::LessEqual>},
      {"<=", compares<Operator::LessEqual>},
      {"gt", compares<Operator::Greater>},
      {"greaterthan", compares<Operator::Greater>},
      {">", compares<Operator::Greater>},
      {"ge", compares<Operator::GreaterEqual>},
      {">=", compares<Operator::GreaterEqual>},
      {"filter", is_filter},
      {"test", is_test},
  };
  const auto found = kTests.find(name);
  return found == kTests.end() ? nullptr : found->second;
}

}  // namespace sluice::text::jinja
