#include "rewards/math/normal_form.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "rewards/math/evaluate.h"

namespace sluice::rewards::math {
namespace {

bool has_choice(const Expression& expression) {
  if (expression.kind == Kind::PlusMinus || expression.kind == Kind::MinusPlus) return true;
  return std::ranges::any_of(expression.parts, has_choice);
}

// With every +- as + (and -+ as -), or the other way round.
Expression chosen(Expression expression, Kind positive) {
  for (auto& part : expression.parts) part = chosen(std::move(part), positive);
  if (expression.kind == positive) return std::move(expression.parts[0]);
  if (expression.kind == Kind::PlusMinus || expression.kind == Kind::MinusPlus)
    expression.kind = Kind::Negative;
  return expression;
}

Expression infinity() { return Expression::constant("infinity"); }
Expression minus_infinity() { return Expression::of(Kind::Negative, {infinity()}); }

Expression interval(bool from_closed, Expression from, Expression to, bool to_closed) {
  return Expression::of(Kind::Tuple, {std::move(from), std::move(to)},
                        std::string(from_closed ? "[" : "(") + (to_closed ? "]" : ")"));
}

Expression list(std::vector<Expression> parts) {
  std::vector<Expression> flat;
  for (auto& part : parts) {
    if (part.kind == Kind::List) {
      std::ranges::move(part.parts, std::back_inserter(flat));
    } else {
      flat.push_back(std::move(part));
    }
  }
  return flat.size() == 1 ? std::move(flat.front()) : Expression::of(Kind::List, std::move(flat));
}

// So that it says "less" everywhere; what says both is left alone.
void turn(Expression& relation) {
  if (!std::ranges::all_of(relation.name, [](char sign) { return sign == '>' || sign == 'g'; })) return;
  std::ranges::reverse(relation.parts);
  std::ranges::reverse(relation.name);
  for (char& sign : relation.name) sign = sign == '>' ? '<' : 'l';
}

Expression of_relation(Expression relation) {
  turn(relation);
  auto& sides = relation.parts;
  const std::string signs = relation.name;
  const bool ordered = std::ranges::all_of(signs, [](char sign) { return sign == '<' || sign == 'l'; });
  const auto is_variable = [&](size_t i) { return sides[i].kind == Kind::Variable; };
  const auto is_fixed = [&](size_t i) { return !has_variable(sides[i]) && sides[i].kind != Kind::List; };
  const auto in = [](Expression variable, Expression range) {
    return Expression::of(Kind::Relation, {std::move(variable), std::move(range)}, "i");
  };
  if (ordered && signs.size() == 1 && is_variable(0) && is_fixed(1)) {
    return in(std::move(sides[0]), interval(false, minus_infinity(), std::move(sides[1]), signs[0] == 'l'));
  }
  if (ordered && signs.size() == 1 && is_fixed(0) && is_variable(1)) {
    return in(std::move(sides[1]), interval(signs[0] == 'l', std::move(sides[0]), infinity(), false));
  }
  if (ordered && signs.size() == 2 && is_fixed(0) && is_variable(1) && is_fixed(2)) {
    return in(std::move(sides[1]),
              interval(signs[0] == 'l', std::move(sides[0]), std::move(sides[2]), signs[1] == 'l'));
  }
  return relation;
}

Expression degrees(Expression angle) { return Expression::of(Kind::Quantity, {std::move(angle)}, "degree"); }

Expression of_value(Expression value) {
  if (has_choice(value)) {
    Expression first = chosen(value, Kind::PlusMinus), second = chosen(std::move(value), Kind::MinusPlus);
    return Expression::of(Kind::List, {normal_form(std::move(first)), normal_form(std::move(second))});
  }
  if (value.kind == Kind::Degrees) return degrees(std::move(value.parts[0]));
  if (value.kind == Kind::Negative && value.parts[0].kind == Kind::Degrees) {
    return degrees(Expression::of(Kind::Negative, {std::move(value.parts[0].parts[0])}));
  }
  if (value.kind == Kind::Constant && value.name == "reals") {
    return interval(false, minus_infinity(), infinity(), false);
  }
  return value;
}

bool is_function_name(const std::string& name) {
  return name.size() == 1 && std::string_view("fghpqFGPQ").find(name[0]) != std::string_view::npos;
}

// x, Area, f(x), f^{-1}(x)
bool is_name(const Expression& side) {
  if (side.kind == Kind::Variable || side.kind == Kind::Words) return true;
  if (side.kind != Kind::Product || side.parts.size() != 2) return false;
  const Expression& first = side.parts[0];
  const Expression& called = first.kind == Kind::Power ? first.parts[0] : first;
  return called.kind == Kind::Variable && is_function_name(called.name) &&
         (side.parts[1].kind == Kind::Variable || side.parts[1].kind == Kind::Tuple);
}

}  // namespace

Expression normal_form(Expression expression) {
  switch (expression.kind) {
    case Kind::List:
      for (auto& part : expression.parts) part = normal_form(std::move(part));
      return list(std::move(expression.parts));
    case Kind::Tuple:
    case Kind::Matrix:
    case Kind::Quantity:
      for (auto& part : expression.parts) part = normal_form(std::move(part));
      return expression;
    case Kind::Relation:
      for (auto& part : expression.parts) part = normal_form(std::move(part));
      return of_relation(std::move(expression));
    default:
      return of_value(std::move(expression));
  }
}

std::string symbol_of(const Expression& expression) {
  if (expression.kind == Kind::Negative && symbol_of(expression.parts[0]) == "infinity") return "-infinity";
  const bool is_symbol =
      expression.kind == Kind::Constant && (expression.name == "infinity" || expression.name == "emptyset");
  return is_symbol ? expression.name : "";
}

bool is_named(const Expression& relation) { return is_name(relation.parts.front()); }

std::vector<const Expression*> values_of(const Expression& relation) {
  std::vector<const Expression*> sides;
  const bool is_member = relation.name == "i";
  if (!is_member && !std::ranges::all_of(relation.name, [](char sign) { return sign == '='; })) return sides;
  for (const auto& part : relation.parts) sides.push_back(&part);
  if (is_named(relation)) {
    sides.erase(sides.begin());
  } else if (sides.size() == 2 && !is_member && is_name(relation.parts.back())) {
    sides.pop_back();
  } else {
    sides.clear();
  }
  return sides;
}

}  // namespace sluice::rewards::math
