// What lies behind a dot and between brackets: members of the JSON, methods of texts, lists and dictionaries.
#pragma once

#include <optional>
#include <string>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

// value.name: a method wins over a key. Undefined for what is not there; fails on an undefined value.
Value get_attribute(Context& context, const Value& value, const std::string& name);
// value[key]: a key wins over a method.
Value get_item(Context& context, const Value& value, const Value& key);
// value[begin:end:step]; none stands for what is left out. Fails for what cannot be cut.
Value get_slice(Context& context, const Value& value, const Value& begin, const Value& end,
                const Value& step);
// Follows "a.b.0", the way that filters name an attribute. `fallback` takes the place of what is undefined.
Value get_path(Context& context, Value value, const Value& path, const Value* fallback = nullptr);

// The method of a value bound to it; nothing when the kind has no method of that name. One that would change
// the value, or that is not supported, fails when it is called.
std::optional<Value> find_method(Context& context, const Value& value, const std::string& name);

}  // namespace sluice::text::jinja
