// Python's operators.
#pragma once

#include "text/jinja/value.h"

namespace sluice::text::jinja {

enum class Operator {
  Add,
  Subtract,
  Multiply,
  Divide,
  FloorDivide,
  Modulo,
  Power,
  Equal,
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  In,
  NotIn
};

// Add .. Power. Fails for operands that do not go together, a division by zero, and an integer that 64 bits
// cannot hold.
Value arithmetic(Context& context, Operator op, const Value& left, const Value& right);
Value negate(Context& context, const Value& value);

// Equal .. NotIn. Fails for operands without an order.
bool compare(Context& context, Operator op, const Value& left, const Value& right);
bool equal(Context& context, const Value& left, const Value& right);
bool less(Context& context, const Value& left, const Value& right);
bool contains(Context& context, const Value& container, const Value& item);

}  // namespace sluice::text::jinja
