// Values as text: Python's str() and repr(), and JSON.
#pragma once

#include <optional>
#include <string>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

// What {{ value }} prints. Undefined prints nothing.
std::string to_text(Context& context, const Value& value);
// What a value looks like inside a list.
std::string repr(Context& context, const Value& value);
std::string repr(double value);

// json.dumps()
struct JsonStyle {
  bool ascii = false;                 // characters beyond ASCII as \uXXXX
  std::optional<std::string> indent;  // of one level; without it everything is on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
std::string to_json(Context& context, const Value& value, const JsonStyle& style);

// & < > " and ' as HTML has them.
std::string escape_html(Context& context, std::string_view text);

}  // namespace sluice::text::jinja
