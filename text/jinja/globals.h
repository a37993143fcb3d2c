// The functions that every template finds: range, dict, namespace, raise_exception, strftime_now.
#pragma once

#include <optional>
#include <string_view>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

std::optional<Value> find_global(Context& context, std::string_view name);

}  // namespace sluice::text::jinja
