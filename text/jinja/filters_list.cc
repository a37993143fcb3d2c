// Filters of lists and dictionaries.
#include <algorithm>
#include <set>

#include "text/jinja/access.h"
#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

// What the filters that return iterators in Python return: it can be walked over once.
Value once(Context& context, std::vector<Value> items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, depth_of(item));
  context.charge_items(items.size());
  auto held = std::make_shared<std::vector<Value>>(std::move(items));
  const auto next = [held, place = size_t{0}]() mutable -> std::optional<Value> {
    if (place == held->size()) return std::nullopt;
    return (*held)[place++];
  };
  return make_generator(context, next, depth + 1);
}

Value fold_case(Context& context, const Value& value) {
  if (value.as_text() == nullptr) return value;
  context.charge_bytes(value.as_text()->size());
  return Value::text(lower(*value.as_text()));
}

Value path_of(const Bound& bound, size_t place) {
  return bound.get(place) == nullptr ? Value::none() : *bound.get(place);
}

Value join_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "join", std::move(arguments), {"d", "attribute"});
  const std::string separator = bound.get(0) == nullptr ? "" : to_text(context, *bound.get(0));
  std::string out;
  bool first = true;
  const Next next = iterate(context, value);
  while (auto item = next()) {
    const std::string text = to_text(context, get_path(context, std::move(*item), path_of(bound, 1)));
    context.charge_bytes(text.size() + separator.size(), out.size());
    if (!first) out += separator;
    first = false;
    out += text;
  }
  return Value::text(std::move(out));
}

Value first_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "first", std::move(arguments), {});
  auto item = iterate(context, value)();
  return item ? std::move(*item) : Value::undefined("'first' of what is empty");
}

Value last_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "last", std::move(arguments), {});
  context.require(value.as<Generator>() == nullptr, "last: a 'generator' cannot be walked backwards");
  auto items = to_vector(context, value);
  return items.empty() ? Value::undefined("'last' of what is empty") : items.back();
}

Value list_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "list", std::move(arguments), {});
  return make_list(context, to_vector(context, value));
}

Value reverse_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "reverse", std::move(arguments), {});
  auto items = to_vector(context, value);
  std::reverse(items.begin(), items.end());
  if (value.as_text() == nullptr) {
    return value.as<Generator>() == nullptr ? once(context, std::move(items))
                                            : make_list(context, std::move(items));
  }
  std::string out;
  for (const Value& item : items) out += *item.as_text();
  return Value::text(std::move(out));
}

Value items_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "items", std::move(arguments), {});
  const Dict* dict = value.as<const Dict>();
  context.require(dict != nullptr || value.is_undefined(), "items takes a dictionary, saw a '",
                  type_name(value), "'");
  std::vector<Value> items;
  if (dict != nullptr) {
    for (const auto& [key, item] : dict->items()) items.push_back(make_tuple(context, {key, item}));
  }
  return once(context, std::move(items));
}

struct Keyed {
  Value key;
  Value item;
};

// Sorts by the keys, equal ones as they came, also when the order is reversed.
std::vector<Value> sorted(Context& context, std::vector<Keyed> entries, bool reverse) {
  if (reverse) std::reverse(entries.begin(), entries.end());
  // A merge sort only ever asks `less`, so an order that contradicts itself does no harm.
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const Keyed& a, const Keyed& b) { return less(context, a.key, b.key); });
  if (reverse) std::reverse(entries.begin(), entries.end());
  std::vector<Value> items;
  for (Keyed& entry : entries) items.push_back(std::move(entry.item));
  return items;
}

Value dictsort(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "dictsort", std::move(arguments), {"case_sensitive", "by", "reverse"});
  const std::string by = bound.get(1) == nullptr ? "key" : bound.text(1);
  context.require(by == "key" || by == "value", "dictsort sorts by 'key' or 'value', saw '", by, "'");
  const Dict* dict = value.as<const Dict>();
  context.require(dict != nullptr, "dictsort takes a dictionary, saw a '", type_name(value), "'");
  std::vector<Keyed> entries;
  for (const auto& [key, item] : dict->items()) {
    const Value& chosen = by == "key" ? key : item;
    entries.push_back(
        {bound.flag(0) ? chosen : fold_case(context, chosen), make_tuple(context, {key, item})});
  }
  return make_list(context, sorted(context, std::move(entries), bound.flag(2)));
}

Value sort_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "sort", std::move(arguments), {"reverse", "case_sensitive", "attribute"});
  std::vector<Value> paths = {path_of(bound, 2)};
  if (const std::string* names = paths[0].as_text()) {
    const auto parts = split(context, *names, ",", -1, false);
    paths.clear();
    for (const std::string& part : parts) paths.push_back(Value::text(part));
  }
  std::vector<Keyed> entries;
  for (Value& item : to_vector(context, value)) {
    std::vector<Value> keys;
    for (const Value& path : paths) {
      const Value key = get_path(context, item, path);
      keys.push_back(bound.flag(1) ? key : fold_case(context, key));
    }
    entries.push_back({make_list(context, std::move(keys)), std::move(item)});
  }
  return make_list(context, sorted(context, std::move(entries), bound.flag(0)));
}

Value unique_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "unique", std::move(arguments), {"case_sensitive", "attribute"});
  std::set<std::string> seen;
  std::vector<Value> items;
  for (Value& item : to_vector(context, value)) {
    Value key = get_path(context, item, path_of(bound, 1));
    if (!bound.flag(0)) key = fold_case(context, key);
    const auto name = key_of(context, key);
    context.require(name.has_value(), "unique: a '", type_name(key), "' cannot be compared so");
    if (seen.insert(*name).second) items.push_back(std::move(item));
  }
  return once(context, std::move(items));
}

template <bool largest>
Value extreme(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, largest ? "max" : "min", std::move(arguments), {"case_sensitive", "attribute"});
  std::optional<Keyed> best;
  for (Value& item : to_vector(context, value)) {
    Value key = get_path(context, item, path_of(bound, 1));
    if (!bound.flag(0)) key = fold_case(context, key);
    if (!best || (largest ? less(context, best->key, key) : less(context, key, best->key))) {
      best = Keyed{std::move(key), std::move(item)};
    }
  }
  return best ? std::move(best->item) : Value::undefined("the extreme of what is empty");
}

Value sum_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "sum", std::move(arguments), {"attribute", "start"});
  Value total = bound.get(1) == nullptr ? Value::integer(0) : *bound.get(1);
  context.require(total.as_text() == nullptr, "sum does not add texts, join does");
  for (Value& item : to_vector(context, value)) {
    total = arithmetic(context, Operator::Add, total, get_path(context, std::move(item), path_of(bound, 0)));
  }
  return total;
}

Value batch_filter(Context& context, const Value& value, Arguments arguments) {
  const Bound bound(context, "batch", std::move(arguments), {"linecount", "fill_with"}, 1);
  const int64_t size = bound.integer(0, 0);
  std::vector<Value> rows;
  std::vector<Value> row;
  for (Value& item : to_vector(context, value)) {
    if (static_cast<int64_t>(row.size()) == size) rows.push_back(make_list(context, std::exchange(row, {})));
    row.push_back(std::move(item));
  }
  if (!row.empty()) {
    const Value* fill = bound.get_some(1);
    while (fill != nullptr && static_cast<int64_t>(row.size()) < size) {
      context.charge();
      row.push_back(*fill);
    }
    rows.push_back(make_list(context, std::move(row)));
  }
  return once(context, std::move(rows));
}

}  // namespace

const Filters& list_filters() {
  static const Filters kFilters = {
      {"join", join_filter},       {"first", first_filter}, {"last", last_filter},  {"list", list_filter},
      {"reverse", reverse_filter}, {"items", items_filter}, {"dictsort", dictsort}, {"sort", sort_filter},
      {"unique", unique_filter},   {"min", extreme<false>}, {"max", extreme<true>}, {"sum", sum_filter},
      {"batch", batch_filter},
  };
  return kFilters;
}

}  // namespace sluice::text::jinja
