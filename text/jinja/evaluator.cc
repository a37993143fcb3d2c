// The renderer's expressions.
#include "text/jinja/access.h"
#include "text/jinja/globals.h"
#include "text/jinja/print.h"
#include "text/jinja/renderer.h"

namespace sluice::text::jinja {

Value Renderer::evaluate(const Expression& expression) {
  using Kind = Expression::Kind;
  const Nested nested(context_);
  context_.set_line(expression.line);
  context_.charge();
  const auto part = [&](size_t i) { return evaluate(*expression.parts[i]); };
  const auto here = [&](Value value) {
    context_.set_line(expression.line);
    return value;
  };
  switch (expression.kind) {
    case Kind::Constant:
      return expression.constant;
    case Kind::Name:
      return name(expression);
    case Kind::List:
      return make_list(context_, evaluate_all(expression.parts));
    case Kind::Tuple:
      return make_tuple(context_, evaluate_all(expression.parts));
    case Kind::Dict:
      return dict(expression);
    case Kind::And:
    case Kind::Or:
      return either(expression);
    case Kind::Not:
      return Value::boolean(!truth(part(0)));
    case Kind::Negate:
      return negate(context_, here(part(0)));
    // 0 + value is the value, of what is a number.
    case Kind::Positive:
      return arithmetic(context_, Operator::Add, Value::integer(0), here(part(0)));
    case Kind::Arithmetic:
      return arithmetic_chain(expression);
    case Kind::Compare:
      return comparison(expression);
    case Kind::Concat:
      return concatenation(expression);
    case Kind::Conditional:
      return conditional(expression);
    case Kind::Attribute:
      return get_attribute(context_, here(part(0)), expression.name);
    case Kind::Item: {
      const Value value = part(0);
      const Value key = part(1);
      return get_item(context_, here(value), key);
    }
    case Kind::Slice:
      return slice(expression);
    case Kind::Call:
      return call(expression);
    case Kind::Filter:
      return filtered(expression, part(0));
    case Kind::Test:
      return test(expression);
  }
  return Value();
}

std::vector<Value> Renderer::evaluate_all(const std::vector<ExpressionPtr>& parts) {
  std::vector<Value> values;
  values.reserve(parts.size());
  for (const auto& part : parts) values.push_back(evaluate(*part));
  return values;
}

Value Renderer::name(const Expression& expression) {
  if (const Value* value = scope_->find(expression.name)) return *value;
  if (auto global = find_global(context_, expression.name)) return std::move(*global);
  return Value::undefined("'" + expression.name + "' is undefined");
}

Value Renderer::dict(const Expression& expression) {
  auto dict = std::make_shared<Dict>();
  for (size_t i = 0; i + 1 < expression.parts.size(); i += 2) {
    const Value key = evaluate(*expression.parts[i]);
    dict->set(context_, key, evaluate(*expression.parts[i + 1]));
  }
  return make_dict(std::move(dict));
}

// The operand that decides, as it is.
Value Renderer::either(const Expression& expression) {
  const bool decides = expression.kind == Expression::Kind::Or;
  Value value;
  for (const auto& part : expression.parts) {
    value = evaluate(*part);
    if (truth(value) == decides) break;
  }
  return value;
}

Value Renderer::arithmetic_chain(const Expression& expression) {
  Value value = evaluate(*expression.parts[0]);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    const Value right = evaluate(*expression.parts[i + 1]);
    context_.set_line(expression.line);
    value = arithmetic(context_, expression.operators[i], value, right);
  }
  return value;
}

Value Renderer::comparison(const Expression& expression) {
  Value left = evaluate(*expression.parts[0]);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    Value right = evaluate(*expression.parts[i + 1]);
    context_.set_line(expression.line);
    if (!compare(context_, expression.operators[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Renderer::concatenation(const Expression& expression) {
  std::string out;
  for (const auto& part : expression.parts) {
    const std::string text = to_text(context_, evaluate(*part));
    context_.charge_bytes(text.size(), out.size());
    out += text;
  }
  return Value::text(std::move(out));
}

Value Renderer::conditional(const Expression& expression) {
  if (truth(evaluate(*expression.parts[0]))) return evaluate(*expression.parts[1]);
  if (expression.parts[2] != nullptr) return evaluate(*expression.parts[2]);
  return Value::undefined("the condition does not hold and there is no 'else'");
}

Value Renderer::slice(const Expression& expression) {
  std::vector<Value> parts;
  for (const auto& part : expression.parts)
    parts.push_back(part == nullptr ? Value::none() : evaluate(*part));
  context_.set_line(expression.line);
  return get_slice(context_, parts[0], parts[1], parts[2], parts[3]);
}

Arguments Renderer::arguments(const Expression& expression) {
  Arguments out;
  for (size_t i = 1; i < expression.parts.size(); ++i)
    out.positional.push_back(evaluate(*expression.parts[i]));
  for (const auto& argument : expression.named)
    out.named.emplace_back(argument.name, evaluate(*argument.value));
  return out;
}

Value Renderer::call(const Expression& expression) {
  const Value callee = evaluate(*expression.parts[0]);
  Arguments given = arguments(expression);
  context_.set_line(expression.line);
  if (const auto* undefined = std::get_if<Undefined>(&callee.data())) {
    context_.fail(undefined->why ? *undefined->why : "a value is undefined", ", it cannot be called");
  }
  const Function* function = callee.as<const Function>();
  context_.require(function != nullptr, "a '", type_name(callee), "' cannot be called");
  return function->call(context_, std::move(given));
}

Value Renderer::filtered(const Expression& filter, const Value& value) {
  Arguments given = arguments(filter);
  context_.set_line(filter.line);
  return filter.filter(context_, value, std::move(given));
}

Value Renderer::test(const Expression& expression) {
  const Value value = evaluate(*expression.parts[0]);
  Arguments given = arguments(expression);
  context_.set_line(expression.line);
  return Value::boolean(expression.test(context_, value, std::move(given)));
}

}  // namespace sluice::text::jinja
