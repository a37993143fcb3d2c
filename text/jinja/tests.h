// The tests, value is name(arguments).
#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

using Test = bool (*)(Context&, const Value& value, Arguments);

// Null for a name that is no test here.
Test find_test(std::string_view name);

}  // namespace sluice::text::jinja
