// Tables of methods by their names.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

using Method = Value (*)(Context&, const Value& self, Arguments);
using Methods = std::map<std::string, Method, std::less<>>;

const Methods& text_methods();

}  // namespace sluice::text::jinja
