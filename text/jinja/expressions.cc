#include "text/jinja/expressions.h"

#include <algorithm>
#include <utility>

namespace sluice::text::jinja {

ExpressionParser::Node ExpressionParser::node(Kind kind, int line) const {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = line;
  return made;
}

// The renderer goes as deep as the tree does.
ExpressionPtr ExpressionParser::done(Node node) const {
  for (const auto& part : node->parts) {
    if (part != nullptr) node->depth = std::max(node->depth, part->depth + 1);
  }
  for (const auto& argument : node->named) node->depth = std::max(node->depth, argument.value->depth + 1);
  if (node->depth > stream_.max_depth()) {
    stream_.fail_at(node->line, "an expression is nested deeper than ", stream_.max_depth(), " levels");
  }
  return node;
}

ExpressionPtr ExpressionParser::expression(bool with_condition) {
  const Deeper deeper(stream_);
  return with_condition ? conditional() : disjunction();
}

ExpressionPtr ExpressionParser::tuple_or_expression(bool with_condition) {
  const int line = stream_.current().line;
  const auto ends = [&] {
    return stream_.is(Token::Kind::BlockEnd) || stream_.is(Token::Kind::OutputEnd) || stream_.is_sign(")");
  };
  if (ends()) stream_.fail("an expression is wanted, saw ", stream_.describe());
  ExpressionPtr first = expression(with_condition);
  if (!stream_.is_sign(",")) return first;
  Node tuple = node(Kind::Tuple, line);
  tuple->parts.push_back(std::move(first));
  while (stream_.skip_sign(",") && !ends()) tuple->parts.push_back(expression(with_condition));
  return done(std::move(tuple));
}

ExpressionPtr ExpressionParser::conditional() {
  const int line = stream_.current().line;
  ExpressionPtr value = disjunction();
  while (stream_.skip_name("if")) {
    Node choice = node(Kind::Conditional, line);
    choice->parts.push_back(disjunction());
    choice->parts.push_back(std::move(value));
    if (stream_.skip_name("else")) {
      const Deeper deeper(stream_);
      choice->parts.push_back(conditional());
    } else {
      choice->parts.push_back(nullptr);
    }
    value = done(std::move(choice));
  }
  return value;
}

ExpressionPtr ExpressionParser::disjunction() {
  ExpressionPtr first = conjunction();
  if (!stream_.is_name("or")) return first;
  Node all = node(Kind::Or, first->line);
  all->parts.push_back(std::move(first));
  while (stream_.skip_name("or")) all->parts.push_back(conjunction());
  return done(std::move(all));
}

ExpressionPtr ExpressionParser::conjunction() {
  ExpressionPtr first = negation();
  if (!stream_.is_name("and")) return first;
  Node all = node(Kind::And, first->line);
  all->parts.push_back(std::move(first));
  while (stream_.skip_name("and")) all->parts.push_back(negation());
  return done(std::move(all));
}

ExpressionPtr ExpressionParser::negation() {
  if (!stream_.is_name("not")) return comparison();
  const Deeper deeper(stream_);
  Node inverse = node(Kind::Not, stream_.take().line);
  inverse->parts.push_back(negation());
  return done(std::move(inverse));
}

ExpressionPtr ExpressionParser::comparison() {
  static constexpr std::pair<std::string_view, Operator> kSigns[] = {
      {"==", Operator::Equal},     {"!=", Operator::NotEqual}, {"<", Operator::Less},
      {"<=", Operator::LessEqual}, {">", Operator::Greater},   {">=", Operator::GreaterEqual}};
  const auto take_operator = [&]() -> std::optional<Operator> {
    for (const auto& [sign, op] : kSigns) {
      if (stream_.skip_sign(sign)) return op;
    }
    if (stream_.skip_name("in")) return Operator::In;
    const bool not_in =
        stream_.is_name("not") && stream_.ahead().kind == Token::Kind::Name && stream_.ahead().text == "in";
    if (!not_in) return std::nullopt;
    stream_.take();
    stream_.take();
    return Operator::NotIn;
  };
  const int line = stream_.current().line;
  ExpressionPtr first = sum();
  Node all = node(Kind::Compare, line);
  while (const auto op = take_operator()) {
    all->operators.push_back(*op);
    all->parts.push_back(sum());
  }
  if (all->parts.empty()) return first;
  all->parts.insert(all->parts.begin(), std::move(first));
  return done(std::move(all));
}

ExpressionPtr ExpressionParser::chain(ExpressionPtr (ExpressionParser::*operand)(),
                                      const std::vector<std::string_view>& signs,
                                      const std::vector<Operator>& operators) {
  const int line = stream_.current().line;
  ExpressionPtr first = (this->*operand)();
  Node all = node(Kind::Arithmetic, line);
  const auto sign = [&] {
    return static_cast<size_t>(
        std::find_if(signs.begin(), signs.end(), [&](std::string_view s) { return stream_.is_sign(s); }) -
        signs.begin());
  };
  for (size_t found = sign(); found < signs.size(); found = sign()) {
    stream_.take();
    all->operators.push_back(operators[found]);
    all->parts.push_back((this->*operand)());
  }
  if (all->parts.empty()) return first;
  all->parts.insert(all->parts.begin(), std::move(first));
  return done(std::move(all));
}

ExpressionPtr ExpressionParser::sum() {
  return chain(&ExpressionParser::concatenation, {"+", "-"}, {Operator::Add, Operator::Subtract});
}

ExpressionPtr ExpressionParser::concatenation() {
  ExpressionPtr first = product();
  if (!stream_.is_sign("~")) return first;
  Node all = node(Kind::Concat, first->line);
  all->parts.push_back(std::move(first));
  while (stream_.skip_sign("~")) all->parts.push_back(product());
  return done(std::move(all));
}

ExpressionPtr ExpressionParser::product() {
  return chain(&ExpressionParser::power, {"*", "/", "//", "%"},
               {Operator::Multiply, Operator::Divide, Operator::FloorDivide, Operator::Modulo});
}

ExpressionPtr ExpressionParser::power() {
  const int line = stream_.current().line;
  ExpressionPtr first = unary(true);
  if (!stream_.is_sign("**")) return first;
  Node all = node(Kind::Arithmetic, line);
  all->parts.push_back(std::move(first));
  while (stream_.skip_sign("**")) {
    all->operators.push_back(Operator::Power);
    all->parts.push_back(unary(true));
  }
  return done(std::move(all));
}

ExpressionPtr ExpressionParser::unary(bool with_filters) {
  ExpressionPtr value;
  if (stream_.is_sign("-") || stream_.is_sign("+")) {
    const Deeper deeper(stream_);
    const Token sign = stream_.take();
    Node signed_value = node(sign.text == "-" ? Kind::Negate : Kind::Positive, sign.line);
    signed_value->parts.push_back(unary(false));
    value = done(std::move(signed_value));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filters ? filters_and_tests(std::move(value)) : std::move(value);
}

}  // namespace sluice::text::jinja
