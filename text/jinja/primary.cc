// Literals, names and what stands in brackets.
#include <utility>

#include "text/jinja/expressions.h"

namespace sluice::text::jinja {

ExpressionPtr ExpressionParser::constant(Value value, int line) const {
  Node literal = node(Kind::Constant, line);
  literal->constant = std::move(value);
  return literal;
}

ExpressionPtr ExpressionParser::primary() {
  const int line = stream_.current().line;
  switch (stream_.current().kind) {
    case Token::Kind::Name:
      return named_value();
    case Token::Kind::Integer:
      return constant(Value::integer(stream_.take().integer), line);
    case Token::Kind::Real:
      return constant(Value::real(stream_.take().real), line);
    case Token::Kind::String: {
      std::string text = stream_.take().text;
      while (stream_.is(Token::Kind::String)) text += stream_.take().text;
      return constant(Value::text(std::move(text)), line);
    }
    default:
      break;
  }
  if (stream_.is_sign("(")) return parenthesised();
  if (stream_.is_sign("[")) return list();
  if (stream_.is_sign("{")) return dict();
  stream_.fail("an expression is wanted, saw ", stream_.describe());
}

ExpressionPtr ExpressionParser::named_value() {
  const Token token = stream_.take();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return constant(Value::boolean(true), token.line);
  if (name == "false" || name == "False") return constant(Value::boolean(false), token.line);
  if (name == "none" || name == "None") return constant(Value::none(), token.line);
  Node variable = node(Kind::Name, token.line);
  variable->name = name;
  return variable;
}

ExpressionPtr ExpressionParser::parenthesised() {
  const int line = stream_.take().line;
  if (stream_.skip_sign(")")) return node(Kind::Tuple, line);
  ExpressionPtr value = tuple_or_expression();
  stream_.expect_sign(")");
  return value;
}

ExpressionPtr ExpressionParser::list() {
  Node items = node(Kind::List, stream_.take().line);
  while (!stream_.is_sign("]")) {
    if (!items->parts.empty()) stream_.expect_sign(",");
    if (stream_.is_sign("]")) break;
    items->parts.push_back(expression());
  }
  stream_.expect_sign("]");
  return done(std::move(items));
}

ExpressionPtr ExpressionParser::dict() {
  Node members = node(Kind::Dict, stream_.take().line);
  while (!stream_.is_sign("}")) {
    if (!members->parts.empty()) stream_.expect_sign(",");
    if (stream_.is_sign("}")) break;
    members->parts.push_back(expression());
    stream_.expect_sign(":");
    members->parts.push_back(expression());
  }
  stream_.expect_sign("}");
  return done(std::move(members));
}

}  // namespace sluice::text::jinja
