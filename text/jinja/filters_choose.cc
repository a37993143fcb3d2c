// Filters that take a filter or a test by its name: map, select and their kin.
#include <algorithm>

#include "text/jinja/access.h"
#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/tests.h"

namespace sluice::text::jinja {
namespace {

int depth_of_all(const Value& value, const Arguments& arguments) {
  int depth = depth_of(value);
  for (const Value& argument : arguments.positional) depth = std::max(depth, depth_of(argument));
  for (const auto& [name, argument] : arguments.named) depth = std::max(depth, depth_of(argument));
  return depth;
}

// Takes the first argument out: the name of a filter, a test or an attribute.
Value take_first(Context& context, Arguments& arguments, const char* what) {
  context.require(!arguments.positional.empty(), what, " is missing");
  Value first = std::move(arguments.positional.front());
  arguments.positional.erase(arguments.positional.begin());
  return first;
}

using Function1 = std::function<Value(Value)>;

Function1 mapping(Context& context, Arguments arguments) {
  if (arguments.positional.empty() && !arguments.named.empty()) {
    const Bound bound(context, "map", std::move(arguments), {"attribute", "default"});
    context.require(bound.get(0) != nullptr, "map: a filter or 'attribute' is missing");
    return [&context, bound, path = *bound.get(0)](Value item) {
      return get_path(context, std::move(item), path, bound.get_some(1));
    };
  }
  const Value name = take_first(context, arguments, "map: the filter");
  const Filter filter = name.as_text() == nullptr ? nullptr : find_filter(*name.as_text());
  context.require(filter != nullptr, "map: '", name.as_text() == nullptr ? type_name(name) : *name.as_text(),
                  "' is not a filter that is known here");
  return [&context, filter, arguments](Value item) { return filter(context, item, arguments); };
}

// What is computed when the first item is asked for: a mistake in the arguments of a filter whose result is
// never looked at is none.
Value map_filter(Context& context, const Value& value, Arguments arguments) {
  const int depth = depth_of_all(value, arguments) + 1;
  auto next = [&context, value, arguments = std::move(arguments), source = Next(),
               function = Function1()]() mutable -> std::optional<Value> {
    if (!source) {
      if (!truth(value)) return std::nullopt;
      function = mapping(context, std::move(arguments));
      source = iterate(context, value);
    }
    auto item = source();
    if (item) item = function(std::move(*item));
    return item;
  };
  return make_generator(context, std::move(next), depth);
}

Function1 choosing(Context& context, Arguments arguments, bool by_attribute) {
  const Value path = by_attribute ? take_first(context, arguments, "the attribute") : Value::none();
  Test test = nullptr;
  if (!arguments.positional.empty()) {
    const Value name = take_first(context, arguments, "the test");
    test = name.as_text() == nullptr ? nullptr : find_test(*name.as_text());
    context.require(test != nullptr, "'", name.as_text() == nullptr ? type_name(name) : *name.as_text(),
                    "' is not a test that is known here");
  }
  return [&context, path, test, arguments](Value item) {
    const Value looked_at = get_path(context, std::move(item), path);
    return Value::boolean(test == nullptr ? truth(looked_at) : test(context, looked_at, arguments));
  };
}

template <bool wanted, bool by_attribute>
Value choose_filter(Context& context, const Value& value, Arguments arguments) {
  const int depth = depth_of_all(value, arguments) + 1;
  auto next = [&context, value, arguments = std::move(arguments), source = Next(),
               chosen = Function1()]() mutable -> std::optional<Value> {
    if (!source) {
      if (!truth(value)) return std::nullopt;
      chosen = choosing(context, std::move(arguments), by_attribute);
      source = iterate(context, value);
    }
    while (auto item = source()) {
      if (truth(chosen(*item)) == wanted) return item;
    }
    return std::nullopt;
  };
  return make_generator(context, std::move(next), depth);
}

}  // namespace

const Filters& choosing_filters() {
  static const Filters kFilters = {
      {"map", map_filter},
      {"select", choose_filter<true, false>},
      {"reject", choose_filter<false, false>},
      {"selectattr", choose_filter<true, true>},
      {"rejectattr", choose_filter<false, true>},
  };
  return kFilters;
}

}  // namespace sluice::text::jinja
