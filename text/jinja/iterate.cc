// Walking over values.
#include "text/jinja/loop.h"
#include "text/jinja/text.h"
#include "text/jinja/value.h"

namespace sluice::text::jinja {
namespace {

Next characters(Context& context, std::shared_ptr<const Text> text) {
  return [&context, text = std::move(text), offset = size_t{0}]() mutable -> std::optional<Value> {
    if (offset == text->bytes.size()) return std::nullopt;
    context.charge();
    const size_t length = character_length(text->bytes, offset);
    offset += length;
    return Value::text(text->bytes.substr(offset - length, length));
  };
}

Next elements(Context& context, std::shared_ptr<const List> list) {
  return [&context, list = std::move(list), place = size_t{0}]() mutable -> std::optional<Value> {
    if (place == list->items.size()) return std::nullopt;
    context.charge();
    return list->items[place++];
  };
}

Next keys(Context& context, std::shared_ptr<const Dict> dict) {
  return [&context, dict = std::move(dict), place = size_t{0}]() mutable -> std::optional<Value> {
    if (place == dict->items().size()) return std::nullopt;
    context.charge();
    return dict->items()[place++].first;
  };
}

// A generator may be walked over by another one, and that by a third.
Next generated(Context& context, std::shared_ptr<Generator> generator) {
  return [&context, generator = std::move(generator)]() -> std::optional<Value> {
    const Nested nested(context);
    context.charge();
    return generator->next();
  };
}

}  // namespace

std::optional<Next> try_iterate(Context& context, const Value& value) {
  if (const auto* text = std::get_if<std::shared_ptr<const Text>>(&value.data())) {
    return characters(context, *text);
  }
  if (const auto* list = std::get_if<std::shared_ptr<const List>>(&value.data())) {
    return elements(context, *list);
  }
  if (const auto* dict = std::get_if<std::shared_ptr<const Dict>>(&value.data())) {
    return keys(context, *dict);
  }
  if (const auto* generator = std::get_if<std::shared_ptr<Generator>>(&value.data())) {
    return generated(context, *generator);
  }
  if (value.is_undefined()) return []() -> std::optional<Value> { return std::nullopt; };
  return std::nullopt;
}

Next iterate(Context& context, const Value& value) {
  auto next = try_iterate(context, value);
  context.require(next.has_value(), "a '", type_name(value), "' cannot be walked over");
  return std::move(*next);
}

std::vector<Value> to_vector(Context& context, const Value& value) {
  if (const List* list = value.as<const List>()) {
    context.charge_items(list->items.size());
    return list->items;
  }
  const Next next = iterate(context, value);
  std::vector<Value> items;
  while (auto item = next()) items.push_back(std::move(*item));
  return items;
}

}  // namespace sluice::text::jinja
