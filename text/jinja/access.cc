#include "text/jinja/access.h"

#include <algorithm>
#include <charconv>

#include "text/jinja/loop.h"
#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

Value missing(const Value& value, const std::string& name) {
  return Value::undefined("a '" + std::string(type_name(value)) + "' has no '" + name + "'");
}

void require_defined(Context& context, const Value& value, const std::string& name) {
  if (const auto* undefined = std::get_if<Undefined>(&value.data())) {
    context.fail(undefined->why ? *undefined->why : "undefined", ", so it has no '", name, "'");
  }
}

const Value* find_member(const Value& value, const std::string& name) {
  if (const Dict* dict = value.as<const Dict>()) return dict->find(name);
  if (const Namespace* space = value.as<Namespace>()) return space->find(name);
  return nullptr;
}

std::string shown_key(const Value& key) {
  if (const std::string* text = key.as_text()) return *text;
  if (const auto integer = key.as_integer()) return std::to_string(*integer);
  return type_name(key);
}

std::optional<Value> element(Context& context, const Value& value, int64_t place) {
  const bool walked = value.as_text() != nullptr || (value.as<const List>() != nullptr &&
                                                     value.as<const List>()->kind <= List::Kind::Range);
  if (!walked) return std::nullopt;
  if (const std::string* text = value.as_text()) context.charge_bytes(text->size());
  const int64_t length = *length_of(value);
  if (place < 0) place += length;
  if (place < 0 || place >= length) return std::nullopt;
  if (const List* list = value.as<const List>()) return list->items[static_cast<size_t>(place)];
  const std::string& text = *value.as_text();
  size_t offset = 0;
  for (; place > 0; --place) offset += character_length(text, offset);
  return Value::text(text.substr(offset, character_length(text, offset)), value.is_markup());
}

// The places that Python's slice takes.
std::vector<size_t> slice_places(Context& context, int64_t length, const Value& begin, const Value& end,
                                 int64_t step) {
  const auto bound = [&](const Value& value, int64_t fallback) {
    if (value.is_none()) return fallback;
    const int64_t place = *value.as_integer();
    const int64_t lowest = step < 0 ? -1 : 0;
    const int64_t highest = step < 0 ? length - 1 : length;
    return std::clamp(place < 0 ? place + length : place, lowest, highest);
  };
  const int64_t first = bound(begin, step < 0 ? length - 1 : 0);
  const int64_t last = bound(end, step < 0 ? -1 : length);
  std::vector<size_t> places;
  context.charge_items(static_cast<size_t>(length));
  const int64_t stride = std::clamp(step, -length - 1, length + 1);
  for (int64_t i = first; stride > 0 ? i < last : i > last; i += stride) {
    places.push_back(static_cast<size_t>(i));
  }
  return places;
}

Value slice_text(const std::string& text, bool markup, const std::vector<size_t>& places) {
  const auto starts = character_starts(text);
  std::string out;
  for (const size_t place : places) out.append(text, starts[place], starts[place + 1] - starts[place]);
  return Value::text(std::move(out), markup);
}

}  // namespace

Value get_attribute(Context& context, const Value& value, const std::string& name) {
  require_defined(context, value, name);
  if (auto method = find_method(context, value, name)) return std::move(*method);
  if (const Value* member = find_member(value, name)) return *member;
  if (Loop* loop = value.as<Loop>()) {
    if (auto attribute = loop->attribute(context, name)) return std::move(*attribute);
  }
  return missing(value, name);
}

Value get_item(Context& context, const Value& value, const Value& key) {
  require_defined(context, value, shown_key(key));
  if (const Dict* dict = value.as<const Dict>()) {
    if (const Value* member = dict->find(context, key)) return *member;
  }
  if (const auto place = key.as_integer()) {
    if (auto found = element(context, value, *place)) return std::move(*found);
  }
  if (key.as_text() != nullptr && value.as<const Dict>() == nullptr) {
    return get_attribute(context, value, *key.as_text());
  }
  if (key.as_text() != nullptr) {
    if (auto method = find_method(context, value, *key.as_text())) return std::move(*method);
  }
  return missing(value, shown_key(key));
}

Value get_slice(Context& context, const Value& value, const Value& begin, const Value& end,
                const Value& step) {
  require_defined(context, value, "slice");
  const List* list = value.as<const List>();
  const bool cut = value.as_text() != nullptr || (list != nullptr && list->kind <= List::Kind::Range);
  const auto placed = [](const Value& bound) { return bound.is_none() || bound.as_integer(); };
  context.require(cut, "a '", type_name(value), "' cannot be sliced");
  context.require(placed(begin) && placed(end) && placed(step), "the parts of a slice are integers");
  const int64_t stride = step.is_none() ? 1 : *step.as_integer();
  context.require(stride != 0, "the step of a slice is 0");
  if (list == nullptr) context.charge_bytes(value.as_text()->size());
  const auto places = slice_places(context, *length_of(value), begin, end, stride);
  if (list == nullptr) return slice_text(*value.as_text(), value.is_markup(), places);
  std::vector<Value> items;
  items.reserve(places.size());
  for (const size_t place : places) items.push_back(list->items[place]);
  return make_list(context, std::move(items),
                   list->kind == List::Kind::Tuple ? List::Kind::Tuple : List::Kind::List);
}

Value get_path(Context& context, Value value, const Value& path, const Value* fallback) {
  if (path.is_none()) return value;
  if (path.as_text() == nullptr) {
    value = get_item(context, value, path);
    return fallback != nullptr && value.is_undefined() ? *fallback : value;
  }
  for (const std::string& part : split(context, *path.as_text(), ".", -1, false)) {
    int64_t place = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), place);
    const bool numeric =
        error == std::errc() && end == part.data() + part.size() && place >= 0 && part[0] != '-';
    value = get_item(context, value, numeric ? Value::integer(place) : Value::text(part));
    if (fallback != nullptr && value.is_undefined()) value = *fallback;
  }
  return value;
}

}  // namespace sluice::text::jinja
