// The part of the parser that reads expressions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/jinja/syntax.h"
#include "text/jinja/token_stream.h"

namespace sluice::text::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}

  // `conditional` says whether "a if b else c" may stand here.
  ExpressionPtr expression(bool conditional = true);
  // An expression, or several with commas between them, which are a tuple.
  ExpressionPtr tuple_or_expression(bool conditional = true);
  // "name(arguments) | name ..." of a block.
  std::vector<ExpressionPtr> block_filters();

 private:
  using Node = std::unique_ptr<Expression>;
  using Kind = Expression::Kind;

  Node node(Kind kind, int line) const;
  ExpressionPtr done(Node node) const;
  ExpressionPtr conditional();
  ExpressionPtr disjunction();
  ExpressionPtr conjunction();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filters);
  ExpressionPtr primary();
  ExpressionPtr constant(Value value, int line) const;
  ExpressionPtr named_value();
  ExpressionPtr parenthesised();
  ExpressionPtr list();
  ExpressionPtr dict();
  ExpressionPtr postfix(ExpressionPtr value);
  ExpressionPtr filters_and_tests(ExpressionPtr value);
  ExpressionPtr attribute(ExpressionPtr value);
  ExpressionPtr item(ExpressionPtr value);
  ExpressionPtr call(ExpressionPtr callee);
  ExpressionPtr filter(ExpressionPtr value);
  ExpressionPtr test(ExpressionPtr value);
  void arguments(Expression& call);
  std::string dotted_name(const char* what);

  // Operands of one level with the operators of `signs` between them.
  ExpressionPtr chain(ExpressionPtr (ExpressionParser::*operand)(),
                      const std::vector<std::string_view>& signs, const std::vector<Operator>& operators);

  TokenStream& stream_;
};

}  // namespace sluice::text::jinja
