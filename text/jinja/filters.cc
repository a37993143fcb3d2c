#include "text/jinja/filters.h"

#include <algorithm>
#include <cmath>

#include "text/jinja/arguments.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

Value trim(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "trim", std::move(arguments), {"chars"});
  const std::string text = to_text(context, value);
  return Value::text(std::string(strip(context, text, bound.text_or_nothing(0), Sides::Both)));
}

template <std::string (*map)(std::string_view)>
Value in_case(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "a filter for case", std::move(arguments), {});
  return Value::text(map(to_text(context, value)));
}

Value replace_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "replace", std::move(arguments), {"old", "new", "count"}, 2);
  const int64_t limit = bound.get_some(2) == nullptr ? -1 : bound.integer(2, -1);
  return Value::text(replace(context, to_text(context, value), to_text(context, *bound.get(0)),
                             to_text(context, *bound.get(1)), limit));
}

Value indent(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "indent", std::move(arguments), {"width", "first", "blank"});
  context.require(value.as_text() != nullptr, "indent takes a text, saw a '", type_name(value), "'");
  std::string margin = "    ";
  if (bound.get(0) != nullptr && bound.get(0)->as_text() != nullptr) {
    margin = *bound.get(0)->as_text();
  } else {
    const int64_t width = std::max<int64_t>(0, bound.integer(0, 4));
    context.charge_bytes(static_cast<size_t>(width));
    margin.assign(static_cast<size_t>(width), ' ');
  }
  std::string out = bound.flag(1) ? margin : "";
  bool first = true;
  for (const std::string& line : split_lines(context, *value.as_text() + "\n", false)) {
    context.charge_bytes(line.size() + margin.size() + 1, out.size());
    if (!first) out += "\n";
    if (!first && (bound.flag(2) || !line.empty())) out += margin;
    first = false;
    out += line;
  }
  return Value::text(std::move(out));
}

Value string_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "string", std::move(arguments), {});
  return value.as_text() != nullptr ? value : Value::text(to_text(context, value));
}

Value safe(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "safe", std::move(arguments), {});
  return Value::text(to_text(context, value), true);
}

Value escape(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "escape", std::move(arguments), {});
  return value.is_markup() ? value : Value::text(escape_html(context, to_text(context, value)), true);
}

Value to_json_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "tojson", std::move(arguments),
                    {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = bound.flag(0);
  style.sort_keys = bound.flag(3);
  if (const Value* indent = bound.get_some(1)) {
    if (indent->as_text() != nullptr) {
      style.indent = *indent->as_text();
    } else {
      const int64_t width = std::max<int64_t>(0, bound.integer(1, 0));
      context.charge_bytes(static_cast<size_t>(width));
      style.indent = std::string(static_cast<size_t>(width), ' ');
    }
    style.item_separator = ",";
  }
  if (const Value* separators = bound.get_some(2)) {
    const auto parts = to_vector(context, *separators);
    context.require(parts.size() == 2 && parts[0].as_text() != nullptr && parts[1].as_text() != nullptr,
                    "tojson: 'separators' should be two texts");
    style.item_separator = *parts[0].as_text();
    style.key_separator = *parts[1].as_text();
  }
  return Value::text(to_json(context, value, style));
}

Value default_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "default", std::move(arguments), {"default_value", "boolean"});
  if (!value.is_undefined() && !(bound.flag(1) && !truth(value))) return value;
  return bound.get(0) == nullptr ? Value::text("") : *bound.get(0);
}

Value length_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "length", std::move(arguments), {});
  if (const std::string* text = value.as_text()) context.charge_bytes(text->size());
  const auto length = length_of(value);
  context.require(length.has_value(), "a '", type_name(value), "' has no length");
  return Value::integer(*length);
}

Value int_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "int", std::move(arguments), {"default", "base"});
  require_defined(context, value);
  if (const auto integer = value.as_integer()) return Value::integer(*integer);
  std::optional<double> real = value.as_number();
  if (const std::string* text = value.as_text()) {
    context.charge_bytes(text->size());
    if (const auto parsed = parse_integer(context, *text, bound.integer(1, 10)))
      return Value::integer(*parsed);
    real = parse_real(*text);
  }
  if (!real || !std::isfinite(*real)) return bound.get(0) == nullptr ? Value::integer(0) : *bound.get(0);
  context.require(std::abs(*real) < 9.2e18, "int: ", *real, " is beyond 64 bits");
  return Value::integer(static_cast<int64_t>(*real));
}

Value float_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "float", std::move(arguments), {"default"});
  require_defined(context, value);
  std::optional<double> real = value.as_number();
  if (const std::string* text = value.as_text()) real = parse_real(*text);
  if (real) return Value::real(*real);
  return bound.get(0) == nullptr ? Value::real(0.0) : *bound.get(0);
}

Value abs_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "abs", std::move(arguments), {});
  require_defined(context, value);
  context.require(value.as_number().has_value(), "abs takes a number, saw a '", type_name(value), "'");
  if (const double* real = value.as_real()) return Value::real(std::abs(*real));
  return *value.as_integer() < 0 ? negate(context, value) : Value::integer(*value.as_integer());
}

Value round_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "round", std::move(arguments), {"precision", "method"});
  const std::string method = bound.get(1) == nullptr ? "common" : bound.text(1);
  context.require(method == "common" || method == "ceil" || method == "floor",
                  "round: the method is common, ceil or floor, saw '", method, "'");
  require_defined(context, value);
  context.require(value.as_number().has_value(), "round takes a number, saw a '", type_name(value), "'");
  const int64_t precision = bound.integer(0, 0);
  context.require(precision >= -300 && precision <= 300, "round: a precision of ", precision);
  const auto integer = value.as_integer();
  if (method == "common" && integer && precision >= 0) return Value::integer(*integer);
  const double number = *value.as_number();
  context.require(std::isfinite(number), "round takes a finite number");
  if (method == "common") {
    const double rounded = round_half_even(number, static_cast<int>(precision));
    return integer ? Value::integer(static_cast<int64_t>(rounded)) : Value::real(rounded);
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  return Value::real((method == "ceil" ? std::ceil(number * scale) : std::floor(number * scale)) / scale);
}

}  // namespace

const Filters& scalar_filters() {
  static const Filters kFilters = {
      {"trim", trim},
      {"lower", in_case<lower>},
      {"upper", in_case<upper>},
      {"capitalize", in_case<capitalize>},
      {"title", in_case<title_words>},
      {"replace", replace_filter},
      {"indent", indent},
      {"string", string_filter},
      {"safe", safe},
      {"escape", escape},
      {"e", escape},
      {"tojson", to_json_filter},
      {"default", default_filter},
      {"d", default_filter},
      {"length", length_filter},
      {"count", length_filter},
      {"int", int_filter},
      {"float", float_filter},
      {"abs", abs_filter},
      {"round", round_filter},
  };
  return kFilters;
}

Filter find_filter(std::string_view name) {
  for (const Filters* filters : {&scalar_filters(), &list_filters(), &choosing_filters()}) {
    if (const auto found = filters->find(name); found != filters->end()) return found->second;
  }
  return nullptr;
}

}  // namespace sluice::text::jinja
