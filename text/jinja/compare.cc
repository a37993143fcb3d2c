#include <cmath>

#include "text/jinja/operators.h"
#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

// -1, 0, 1; 2 when one of them is not a number.
int compare_numbers(const Value& left, const Value& right) {
  const auto a = left.as_integer();
  const auto b = right.as_integer();
  if (a && b) return *a < *b ? -1 : *a > *b ? 1 : 0;
  const double x = *left.as_number();
  const double y = *right.as_number();
  if (std::isnan(x) || std::isnan(y)) return 2;
  if (x != y) return x < y ? -1 : 1;
  if (std::abs(x) >= 9.2e18 || (!a && !b)) return 0;
  // An integer of more than 53 bits was rounded on its way to a double.
  const int64_t p = a ? *a : static_cast<int64_t>(x);
  const int64_t q = b ? *b : static_cast<int64_t>(y);
  return p < q ? -1 : p > q ? 1 : 0;
}

bool equal_items(Context& context, const std::vector<Value>& left, const std::vector<Value>& right) {
  if (left.size() != right.size()) return false;
  for (size_t i = 0; i < left.size(); ++i) {
    if (!equal(context, left[i], right[i])) return false;
  }
  return true;
}

bool equal_dicts(Context& context, const Dict& left, const Dict& right) {
  if (left.items().size() != right.items().size()) return false;
  for (const auto& [key, value] : left.items()) {
    const Value* other = right.find(context, key);
    if (other == nullptr || !equal(context, value, *other)) return false;
  }
  return true;
}

[[noreturn]] void no_order(Context& context, const Value& left, const Value& right) {
  for (const Value* value : {&left, &right}) {
    const auto* undefined = std::get_if<Undefined>(&value->data());
    if (undefined != nullptr && undefined->why) context.fail(*undefined->why);
  }
  context.fail("'", type_name(left), "' and '", type_name(right), "' have no order");
}

bool less_items(Context& context, const List& left, const List& right, bool or_equal) {
  const size_t shared = std::min(left.items.size(), right.items.size());
  for (size_t i = 0; i < shared; ++i) {
    if (equal(context, left.items[i], right.items[i])) continue;
    return compare(context, or_equal ? Operator::LessEqual : Operator::Less, left.items[i], right.items[i]);
  }
  return or_equal ? left.items.size() <= right.items.size() : left.items.size() < right.items.size();
}

bool ordered(Context& context, const Value& left, const Value& right, bool or_equal) {
  if (left.as_number() && right.as_number()) {
    const int order = compare_numbers(left, right);
    return order == -1 || (or_equal && order == 0);
  }
  if (left.as_text() != nullptr && right.as_text() != nullptr) {
    context.charge_bytes(std::min(left.as_text()->size(), right.as_text()->size()));
    // The bytes of UTF-8 are ordered as the code points are.
    const int order = left.as_text()->compare(*right.as_text());
    return order < 0 || (or_equal && order == 0);
  }
  const List* first = left.as<const List>();
  const List* second = right.as<const List>();
  if (first == nullptr || second == nullptr || first->kind != second->kind ||
      first->kind > List::Kind::Tuple) {
    no_order(context, left, right);
  }
  return less_items(context, *first, *second, or_equal);
}

}  // namespace

bool equal(Context& context, const Value& left, const Value& right) {
  context.charge();
  if (left.as_number() && right.as_number()) return compare_numbers(left, right) == 0;
  if (left.data().index() != right.data().index()) return false;
  if (left.is_undefined() || left.is_none()) return true;
  if (const std::string* text = left.as_text()) {
    if (text->size() == right.as_text()->size()) context.charge_bytes(text->size());
    return *text == *right.as_text();
  }
  if (const List* list = left.as<const List>()) {
    const List& other = *right.as<const List>();
    return list->kind == other.kind && equal_items(context, list->items, other.items);
  }
  if (const Dict* dict = left.as<const Dict>()) return equal_dicts(context, *dict, *right.as<const Dict>());
  return left.data() == right.data();
}

bool less(Context& context, const Value& left, const Value& right) {
  context.charge();
  return ordered(context, left, right, false);
}

bool contains(Context& context, const Value& container, const Value& item) {
  if (const std::string* text = container.as_text()) {
    context.require(item.as_text() != nullptr, "'in' looks for a text in a text, saw a '", type_name(item),
                    "'");
    context.charge_bytes(text->size());
    return find(*text, *item.as_text()) != std::string_view::npos;
  }
  if (const Dict* dict = container.as<const Dict>()) {
    context.require(key_of(context, item).has_value(), "a '", type_name(item),
                    "' cannot be the key of a dictionary");
    return dict->find(context, item) != nullptr;
  }
  const Next next = iterate(context, container);
  while (const auto candidate = next()) {
    if (equal(context, *candidate, item)) return true;
  }
  return false;
}

bool compare(Context& context, Operator op, const Value& left, const Value& right) {
  switch (op) {
    case Operator::Equal:
      return equal(context, left, right);
    case Operator::NotEqual:
      return !equal(context, left, right);
    case Operator::Less:
      return less(context, left, right);
    case Operator::Greater:
      return less(context, right, left);
    case Operator::LessEqual:
      return ordered(context, left, right, true);
    case Operator::GreaterEqual:
      return ordered(context, right, left, true);
    case Operator::In:
      return contains(context, right, left);
    default:
      return !contains(context, right, left);
  }
}

}  // namespace sluice::text::jinja
