#include <cmath>
#include <limits>

#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace sluice::text::jinja {
namespace {

constexpr const char* kSigns[] = {"+", "-", "*", "/", "//", "%", "**"};

const char* sign(Operator op) { return kSigns[static_cast<size_t>(op)]; }

int64_t floor_divide(int64_t left, int64_t right) {
  const int64_t quotient = left / right;
  return (left % right != 0 && (left < 0) != (right < 0)) ? quotient - 1 : quotient;
}

double floor_modulo(double left, double right) {
  const double rest = std::fmod(left, right);
  if (rest != 0.0 && (rest < 0) != (right < 0)) return rest + right;
  return rest == 0.0 ? std::copysign(0.0, right) : rest;
}

// Nothing when 64 bits do not hold the result.
std::optional<int64_t> power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return std::nullopt;
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return std::nullopt;
  }
  return result;
}

Value real_arithmetic(Context& context, Operator op, double left, double right) {
  const bool divides = op == Operator::Divide || op == Operator::FloorDivide || op == Operator::Modulo;
  context.require(!divides || right != 0.0, "division by zero");
  switch (op) {
    case Operator::Add:
      return Value::real(left + right);
    case Operator::Subtract:
      return Value::real(left - right);
    case Operator::Multiply:
      return Value::real(left * right);
    case Operator::Divide:
      return Value::real(left / right);
    case Operator::FloorDivide: {
      const double quotient = (left - floor_modulo(left, right)) / right;
      return Value::real(quotient == 0.0 ? std::copysign(0.0, left / right) : std::round(quotient));
    }
    case Operator::Modulo:
      return Value::real(floor_modulo(left, right));
    default:
      break;
  }
  context.require(left != 0.0 || right >= 0.0, "0.0 cannot be raised to a negative power");
  context.require(left >= 0.0 || std::isinf(left) || std::floor(right) == right,
                  "a negative number cannot be raised to a fractional power");
  const double result = std::pow(left, right);
  context.require(!std::isinf(result) || std::isinf(left) || std::isinf(right), "the power is too large");
  return Value::real(result);
}

Value integer_arithmetic(Context& context, Operator op, int64_t left, int64_t right) {
  const bool divides = op == Operator::FloorDivide || op == Operator::Modulo;
  context.require(!divides || right != 0, "division by zero");
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::Add:
      overflow = __builtin_add_overflow(left, right, &result);
      break;
    case Operator::Subtract:
      overflow = __builtin_sub_overflow(left, right, &result);
      break;
    case Operator::Multiply:
      overflow = __builtin_mul_overflow(left, right, &result);
      break;
    case Operator::FloorDivide:
      overflow = right == -1 && left == std::numeric_limits<int64_t>::min();
      if (!overflow) result = floor_divide(left, right);
      break;
    case Operator::Modulo:
      // The remainder by -1 is 0, and the machine's instruction traps for the smallest integer.
      if (right != -1) result = left - floor_divide(left, right) * right;
      break;
    case Operator::Power: {
      if (right < 0) {
        return real_arithmetic(context, op, static_cast<double>(left), static_cast<double>(right));
      }
      const auto raised = power(left, right);
      overflow = !raised;
      result = raised.value_or(0);
      break;
    }
    default:
      return real_arithmetic(context, op, static_cast<double>(left), static_cast<double>(right));
  }
  context.require(!overflow, left, " ", sign(op), " ", right, " is beyond 64 bits");
  return Value::integer(result);
}

Value join_texts(Context& context, const Value& left, const Value& right) {
  const bool markup = left.is_markup() || right.is_markup();
  const auto part = [&](const Value& value) {
    return markup && !value.is_markup() ? escape_html(context, *value.as_text()) : *value.as_text();
  };
  context.charge_bytes(left.as_text()->size() + right.as_text()->size());
  return Value::text(part(left) + part(right), markup);
}

Value join_lists(Context& context, const List& left, const List& right) {
  context.charge_items(left.items.size() + right.items.size());
  std::vector<Value> items = left.items;
  items.insert(items.end(), right.items.begin(), right.items.end());
  return make_list(context, std::move(items), left.kind);
}

// A text or a list so many times; nothing for other values.
std::optional<Value> repeat(Context& context, const Value& value, int64_t times) {
  const auto count = static_cast<size_t>(std::max<int64_t>(times, 0));
  if (const std::string* text = value.as_text()) {
    size_t size = 0;
    context.require(!__builtin_mul_overflow(text->size(), count, &size), "the text is too long");
    context.charge_bytes(size);
    std::string out;
    out.reserve(size);
    for (size_t i = 0; i < count && size > 0; ++i) out += *text;
    return Value::text(std::move(out), value.is_markup());
  }
  const List* list = value.as<const List>();
  if (list == nullptr || list->kind > List::Kind::Tuple) return std::nullopt;
  size_t size = 0;
  context.require(!__builtin_mul_overflow(list->items.size(), count, &size), "the list is too long");
  context.charge_items(size);
  std::vector<Value> items;
  items.reserve(size);
  for (size_t i = 0; i < count && size > 0; ++i)
    items.insert(items.end(), list->items.begin(), list->items.end());
  return make_list(context, std::move(items), list->kind);
}

}  // namespace

Value arithmetic(Context& context, Operator op, const Value& left, const Value& right) {
  require_defined(context, left);
  require_defined(context, right);
  const auto a = left.as_integer();
  const auto b = right.as_integer();
  if (a && b) return integer_arithmetic(context, op, *a, *b);
  if (left.as_number() && right.as_number()) {
    return real_arithmetic(context, op, *left.as_number(), *right.as_number());
  }
  if (op == Operator::Multiply && (a || b)) {
    if (auto repeated = repeat(context, a ? right : left, a ? *a : *b)) return std::move(*repeated);
  }
  if (op == Operator::Add && left.as_text() != nullptr && right.as_text() != nullptr) {
    return join_texts(context, left, right);
  }
  const List* first = left.as<const List>();
  const List* second = right.as<const List>();
  if (op == Operator::Add && first != nullptr && second != nullptr && first->kind == second->kind &&
      first->kind <= List::Kind::Tuple) {
    return join_lists(context, *first, *second);
  }
  context.require(op != Operator::Modulo || left.as_text() == nullptr,
                  "formatting a text with % is not supported");
  context.fail("'", sign(op), "' does not go with '", type_name(left), "' and '", type_name(right), "'");
}

Value negate(Context& context, const Value& value) {
  require_defined(context, value);
  if (const double* real = value.as_real()) return Value::real(-*real);
  const auto integer = value.as_integer();
  context.require(integer.has_value(), "'-' does not go with a '", type_name(value), "'");
  return integer_arithmetic(context, Operator::Subtract, 0, *integer);
}

}  // namespace sluice::text::jinja
