// The filters, value|name(arguments).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

using Filter = Value (*)(Context&, const Value& value, Arguments);
using Filters = std::map<std::string, Filter, std::less<>>;

// Null for a name that is no filter here.
Filter find_filter(std::string_view name);

// What find_filter() looks through: filters of texts and numbers, of lists, and those that take a filter or a
// test by its name.
const Filters& scalar_filters();
const Filters& list_filters();
const Filters& choosing_filters();

}  // namespace sluice::text::jinja
