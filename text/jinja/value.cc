#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja/loop.h"
#include "text/jinja/text.h"

namespace sluice::text::jinja {

Value Value::undefined(std::string why) {
  return Value(Data(Undefined{std::make_shared<const std::string>(std::move(why))}));
}

Value Value::text(std::string bytes, bool markup) {
  return Value(Data(std::make_shared<const Text>(Text{std::move(bytes), markup})));
}

const std::string* Value::as_text() const {
  const Text* text = as<const Text>();
  return text == nullptr ? nullptr : &text->bytes;
}

std::optional<int64_t> Value::as_integer() const {
  if (const auto* integer = std::get_if<int64_t>(&data_)) return *integer;
  if (const bool* boolean = as_boolean()) return *boolean ? 1 : 0;
  return std::nullopt;
}

std::optional<double> Value::as_number() const {
  if (const double* real = as_real()) return *real;
  if (const auto integer = as_integer()) return static_cast<double>(*integer);
  return std::nullopt;
}

bool Value::is_markup() const {
  const Text* text = as<const Text>();
  return text != nullptr && text->markup;
}

void Dict::set(Context& context, const Value& key, Value value) {
  const auto name = key_of(context, key);
  context.require(name.has_value(), "a '", type_name(key), "' cannot be the key of a dictionary");
  depth_ = std::max(depth_, 1 + std::max(depth_of(key), depth_of(value)));
  context.require(depth_ <= kMaxValueDepth, "values are nested deeper than ", kMaxValueDepth);
  context.charge();
  const auto [place, fresh] = index_.emplace(*name, items_.size());
  if (fresh) {
    items_.emplace_back(key, std::move(value));
  } else {
    items_[place->second].second = std::move(value);
  }
}

const Value* Dict::find(std::string_view key) const {
  const auto found = index_.find("s" + std::string(key));
  return found == index_.end() ? nullptr : &items_[found->second].second;
}

const Value* Dict::find(Context& context, const Value& key) const {
  const auto name = key_of(context, key);
  if (!name) return nullptr;
  const auto found = index_.find(*name);
  return found == index_.end() ? nullptr : &items_[found->second].second;
}

const Value* Namespace::find(std::string_view name) const {
  for (const auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

void Namespace::set(const std::string& name, Value value) {
  for (auto& [key, held] : attributes) {
    if (key == name) {
      held = std::move(value);
      return;
    }
  }
  attributes.emplace_back(name, std::move(value));
}

Value make_list(Context& context, std::vector<Value> items, List::Kind kind) {
  context.charge_items(items.size());
  auto list = std::make_shared<List>();
  for (const Value& item : items) list->depth = std::max(list->depth, 1 + depth_of(item));
  context.require(list->depth <= kMaxValueDepth, "values are nested deeper than ", kMaxValueDepth);
  list->kind = kind;
  list->items = std::move(items);
  return Value(Value::Data(std::shared_ptr<const List>(std::move(list))));
}

Value make_tuple(Context& context, std::vector<Value> items) {
  return make_list(context, std::move(items), List::Kind::Tuple);
}

Value make_dict(std::shared_ptr<const Dict> dict) { return Value(Value::Data(std::move(dict))); }

Value make_function(Context& context, std::string name, std::function<Value(Context&, Arguments)> call,
                    int depth) {
  context.require(depth <= kMaxValueDepth, "values are nested deeper than ", kMaxValueDepth);
  return Value(
      Value::Data(std::make_shared<const Function>(Function{std::move(name), std::move(call), depth})));
}

Value make_generator(Context& context, Next next, int depth) {
  context.require(depth <= kMaxValueDepth, "values are nested deeper than ", kMaxValueDepth);
  return Value(Value::Data(std::make_shared<Generator>(Generator{std::move(next), depth})));
}

Value from_json(Context& context, const Json& json) {
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::integer(json.get<int64_t>());
    case Json::value_t::number_unsigned:
      context.require(json.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()),
                      "an integer of the conversation is beyond 64 bits: ", json.dump());
      return Value::integer(json.get<int64_t>());
    case Json::value_t::number_float:
      return Value::real(json.get<double>());
    case Json::value_t::string:
      return Value::text(json.get_ref<const std::string&>());
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) items.push_back(from_json(context, item));
      return make_list(context, std::move(items));
    }
    case Json::value_t::object: {
      auto dict = std::make_shared<Dict>();
      for (const auto& [key, item] : json.items()) {
        dict->set(context, Value::text(key), from_json(context, item));
      }
      return make_dict(std::move(dict));
    }
    default:
      return Value::none();
  }
}

const char* type_name(List::Kind kind) {
  static constexpr const char* kNames[] = {"list",      "tuple",       "range",
                                           "dict_keys", "dict_values", "dict_items"};
  return kNames[static_cast<size_t>(kind)];
}

const char* type_name(const Value& value) {
  if (const List* list = value.as<const List>()) return type_name(list->kind);
  static constexpr const char* kNames[] = {"Undefined", "NoneType", "bool",      "int",
                                           "float",     "str",      "list",      "dict",
                                           "Namespace", "function", "generator", "LoopContext"};
  return kNames[value.data().index()];
}

bool truth(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (const auto number = value.as_number()) return *number != 0.0;
  if (const std::string* text = value.as_text()) return !text->empty();
  if (value.as<Loop>() != nullptr) return true;
  return length_of(value).value_or(1) > 0;
}

void require_defined(Context& context, const Value& value) {
  const auto* undefined = std::get_if<Undefined>(&value.data());
  if (undefined != nullptr) context.fail(undefined->why ? *undefined->why : "a value is undefined");
}

int depth_of(const Value& value) {
  if (const List* list = value.as<const List>()) return list->depth;
  if (const Dict* dict = value.as<const Dict>()) return dict->depth();
  if (const Function* function = value.as<const Function>()) return function->depth;
  if (const Generator* generator = value.as<Generator>()) return generator->depth;
  if (const Loop* loop = value.as<Loop>()) return loop->depth();
  return 0;
}

std::optional<int64_t> length_of(const Value& value) {
  if (const std::string* text = value.as_text()) return static_cast<int64_t>(count_characters(*text));
  if (const List* list = value.as<const List>()) return static_cast<int64_t>(list->items.size());
  if (const Dict* dict = value.as<const Dict>()) return static_cast<int64_t>(dict->items().size());
  if (value.is_undefined()) return 0;
  return std::nullopt;
}

std::optional<std::string> key_of(Context& context, const Value& value) {
  if (const std::string* text = value.as_text()) {
    context.charge_bytes(text->size());
    return "s" + *text;
  }
  if (value.is_undefined()) return "u";
  if (value.is_none()) return "n";
  if (const auto integer = value.as_integer()) return "i" + std::to_string(*integer);
  if (const double* real = value.as_real()) {
    if (std::trunc(*real) == *real && std::abs(*real) < 9e18) {
      return "i" + std::to_string(static_cast<int64_t>(*real));
    }
    return "f" + std::string(reinterpret_cast<const char*>(real), sizeof(double));
  }
  const List* list = value.as<const List>();
  if (list == nullptr || list->kind != List::Kind::Tuple) return std::nullopt;
  std::string key = "(";
  for (const Value& item : list->items) {
    const auto part = key_of(context, item);
    if (!part) return std::nullopt;
    key += std::to_string(part->size()) + ":" + *part;
    context.charge_bytes(key.size());
  }
  return key;
}

}  // namespace sluice::text::jinja
