// Runs a syntax tree.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/chat_template.h"
#include "text/jinja/scope.h"
#include "text/jinja/syntax.h"

namespace sluice::text::jinja {

// For one rendering. The tree and the context outlive it.
class Renderer {
 public:
  Renderer(Context& context, std::shared_ptr<Scope> variables);

  // Throws DataError "where:line: ..." for what the template raises or cannot do, and past a limit.
  RenderedChat run(const Block& block);

 private:
  enum class Flow { Next, Break, Continue };
  class Inner;  // a scope inside the current one, while it lives

  // Statements.
  Flow block(const Block& block);
  Flow statement(const Statement& statement);
  Flow if_block(const Statement& statement);
  Flow for_block(const Statement& statement);
  Next loop_items(const Statement& statement, const Value& iterable);
  void set(const Statement& statement);
  void define_macro(const Statement& statement);
  Value call_macro(const Statement& macro, const std::shared_ptr<Scope>& scope, Arguments arguments);
  void bind_parameters(const Statement& macro, Arguments arguments);
  Flow with_block(const Statement& statement);
  void generation(const Statement& statement);
  void assign(const Target& target, const Value& value);
  // Runs the body in a scope of its own and keeps what it prints in `text`, filtered.
  Flow captured(const Statement& statement, Value& text);
  // What {% set x %} and {% filter %} do with it.
  Flow captured_block(const Statement& statement);
  void print(const std::string& text);

  // Expressions.
  Value evaluate(const Expression& expression);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& parts);
  Value name(const Expression& expression);
  Value dict(const Expression& expression);
  Value either(const Expression& expression);
  Value arithmetic_chain(const Expression& expression);
  Value comparison(const Expression& expression);
  Value concatenation(const Expression& expression);
  Value conditional(const Expression& expression);
  Value slice(const Expression& expression);
  Value call(const Expression& expression);
  Value filtered(const Expression& filter, const Value& value);
  Value test(const Expression& expression);
  Arguments arguments(const Expression& expression);

  Context& context_;
  std::shared_ptr<Scope> scope_;
  RenderedChat chat_;
  std::string* out_;  // where text goes: the chat's, or that of the innermost block that is captured
};

}  // namespace sluice::text::jinja
