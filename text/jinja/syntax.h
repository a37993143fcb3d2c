// The syntax tree of a template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/tests.h"
#include "text/jinja/value.h"

namespace sluice::text::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct NamedArgument {
  std::string name;
  ExpressionPtr value;
};

// One struct for every kind: `parts` are its operands in the order in which they stand.
struct Expression {
  enum class Kind {
    Constant,     // constant
    Name,         // name
    List,         // parts
    Tuple,        // parts
    Dict,         // parts: key, value, key, value ...
    And,          // parts
    Or,           // parts
    Not,          // parts[0]
    Negate,       // parts[0]
    Positive,     // parts[0]
    Arithmetic,   // parts[0] operators[0] parts[1] operators[1] ..., from the left
    Compare,      // the same, each with its neighbour
    Concat,       // parts
    Conditional,  // parts: condition, value, other value or null
    Attribute,    // parts[0].name
    Item,         // parts[0][parts[1]]
    Slice,        // parts: value, begin, end, step; null for what is left out
    Call,         // parts[0](parts[1...], named)
    Filter,       // parts[0] | name(parts[1...], named); of a block, parts[0] is null
    Test,         // parts[0] is name(parts[1...], named)
  };
  Kind kind = Kind::Constant;
  int line = 1;
  int depth = 1;
  Value constant;
  std::string name;
  std::vector<ExpressionPtr> parts;
  std::vector<Operator> operators;
  std::vector<NamedArgument> named;
  Filter filter = nullptr;
  Test test = nullptr;
};

// What is assigned to: a name, an attribute of a namespace, or several of them.
struct Target {
  int line = 1;
  std::string name;
  std::string attribute;      // of the namespace `name`; empty for a name
  std::vector<Target> parts;  // of a tuple
  bool tuple = false;
};

struct Parameter {
  std::string name;
  ExpressionPtr fallback;  // null when there is none
};

struct Statement;
using Block = std::vector<Statement>;

struct Branch {
  ExpressionPtr condition;
  Block body;
};

struct Statement {
  enum class Kind {
    Text,        // text
    Output,      // expression
    If,          // branches, other
    For,         // target in expression [if condition], body, other
    Set,         // target = expression
    SetBlock,    // target = body, filters
    Macro,       // text (its name), parameters, body
    Filter,      // filters, body
    With,        // parameters and their values, body
    Generation,  // body
    Break,
    Continue,
  };
  Kind kind = Kind::Text;
  int line = 1;
  std::string text;
  ExpressionPtr expression;
  ExpressionPtr condition;
  std::vector<ExpressionPtr> filters;  // of what the block prints, one after another
  Target target;
  std::vector<Branch> branches;
  std::vector<Parameter> parameters;
  Block body;
  Block other;
};

}  // namespace sluice::text::jinja
