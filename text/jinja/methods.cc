// The methods of lists, dictionaries and loops, and the choice among all methods.
#include "text/jinja/methods.h"

#include <algorithm>

#include "text/jinja/access.h"
#include "text/jinja/arguments.h"
#include "text/jinja/loop.h"
#include "text/jinja/operators.h"

namespace sluice::text::jinja {
namespace {

Value list_index(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "index()", std::move(arguments), {"item"}, 1);
  const auto& items = self.as<const List>()->items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (equal(context, items[i], *bound.get(0))) return Value::integer(static_cast<int64_t>(i));
  }
  context.fail("index(): there is no such item");
}

Value list_count(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "count()", std::move(arguments), {"item"}, 1);
  int64_t count = 0;
  for (const Value& item : self.as<const List>()->items) count += equal(context, item, *bound.get(0)) ? 1 : 0;
  return Value::integer(count);
}

Value copy_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "copy()", std::move(arguments), {});
  return self;
}

Value dict_get(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "get()", std::move(arguments), {"key", "default"}, 1);
  context.require(key_of(context, *bound.get(0)).has_value(), "a '", type_name(*bound.get(0)),
                  "' cannot be the key of a dictionary");
  if (const Value* found = self.as<const Dict>()->find(context, *bound.get(0))) return *found;
  return bound.get(1) == nullptr ? Value::none() : *bound.get(1);
}

template <List::Kind kind>
Value dict_view(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "a method of a dictionary", std::move(arguments), {});
  std::vector<Value> items;
  for (const auto& [key, value] : self.as<const Dict>()->items()) {
    if (kind == List::Kind::Keys) items.push_back(key);
    if (kind == List::Kind::Values) items.push_back(value);
    if (kind == List::Kind::Items) items.push_back(make_tuple(context, {key, value}));
  }
  return make_list(context, std::move(items), kind);
}

Value loop_cycle(Context& context, const Value& self, Arguments arguments) {
  context.require(!arguments.positional.empty(), "loop.cycle() has nothing to choose from");
  const auto place = static_cast<size_t>(self.as<Loop>()->index0()) % arguments.positional.size();
  return arguments.positional[place];
}

const Methods& methods_of(const Value& value) {
  static const Methods kList = {{"index", list_index}, {"count", list_count}, {"copy", copy_method}};
  static const Methods kTuple = {{"index", list_index}, {"count", list_count}};
  static const Methods kDict = {{"get", dict_get},
                                {"keys", dict_view<List::Kind::Keys>},
                                {"values", dict_view<List::Kind::Values>},
                                {"items", dict_view<List::Kind::Items>},
                                {"copy", copy_method}};
  static const Methods kLoop = {{"cycle", loop_cycle}};
  static const Methods kNone;
  if (value.as_text() != nullptr) return text_methods();
  if (const List* list = value.as<const List>()) {
    return list->kind == List::Kind::List ? kList : list->kind <= List::Kind::Range ? kTuple : kNone;
  }
  if (value.as<const Dict>() != nullptr) return kDict;
  return value.as<Loop>() != nullptr ? kLoop : kNone;
}

// Methods that Python has beside those above. The ones that change their value are refused by Jinja's
// sandbox.
bool refused(const Value& value, std::string_view name) {
  static constexpr std::string_view kText[] = {
      "casefold", "center",    "encode",       "expandtabs", "format",      "format_map",
      "isascii",  "isdecimal", "isidentifier", "isnumeric",  "isprintable", "istitle",
      "ljust",    "maketrans", "rjust",        "swapcase",   "translate",   "zfill"};
  if (value.as_text() == nullptr) return false;
  return std::find(std::begin(kText), std::end(kText), name) != std::end(kText);
}

bool changes(const Value& value, std::string_view name) {
  static constexpr std::string_view kList[] = {"append", "clear",  "extend",  "insert",
                                               "pop",    "remove", "reverse", "sort"};
  static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  const List* list = value.as<const List>();
  if (list != nullptr && list->kind == List::Kind::List)
    return std::find(std::begin(kList), std::end(kList), name) != std::end(kList);
  return value.as<const Dict>() != nullptr &&
         std::find(std::begin(kDict), std::end(kDict), name) != std::end(kDict);
}

}  // namespace

std::optional<Value> find_method(Context& context, const Value& value, const std::string& name) {
  const Methods& methods = methods_of(value);
  if (const auto found = methods.find(name); found != methods.end()) {
    const auto call = [value, method = found->second](Context& now, Arguments arguments) {
      return method(now, value, std::move(arguments));
    };
    return make_function(context, name, call, depth_of(value) + 1);
  }
  if (refused(value, name)) {
    context.fail("the method '", name, "' of a text is not supported");
  }
  if (changes(value, name)) {
    return Value::undefined("the method '" + name + "' changes a '" + type_name(value) +
                            "', which templates cannot");
  }
  return std::nullopt;
}

}  // namespace sluice::text::jinja
