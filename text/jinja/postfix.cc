// What stands behind a value: attributes, items, calls, filters and tests.
#include <utility>

#include "text/jinja/expressions.h"

namespace sluice::text::jinja {

ExpressionPtr ExpressionParser::postfix(ExpressionPtr value) {
  while (true) {
    if (stream_.is_sign(".")) {
      value = attribute(std::move(value));
    } else if (stream_.is_sign("[")) {
      value = item(std::move(value));
    } else if (stream_.is_sign("(")) {
      value = call(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::filters_and_tests(ExpressionPtr value) {
  while (true) {
    if (stream_.skip_sign("|")) {
      value = filter(std::move(value));
    } else if (stream_.is_name("is")) {
      value = test(std::move(value));
    } else if (stream_.is_sign("(")) {
      value = call(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::attribute(ExpressionPtr value) {
  const int line = stream_.take().line;
  if (stream_.is(Token::Kind::Integer)) {
    Node element = node(Kind::Item, line);
    element->parts.push_back(std::move(value));
    element->parts.push_back(constant(Value::integer(stream_.take().integer), line));
    return done(std::move(element));
  }
  Node member = node(Kind::Attribute, line);
  member->name = stream_.expect_name("the name of an attribute");
  member->parts.push_back(std::move(value));
  return done(std::move(member));
}

ExpressionPtr ExpressionParser::item(ExpressionPtr value) {
  const int line = stream_.take().line;
  std::vector<ExpressionPtr> bounds;  // of a slice, the last one still open
  bounds.push_back(nullptr);
  while (!stream_.is_sign("]")) {
    if (stream_.skip_sign(":")) {
      if (bounds.size() == 3) stream_.fail("a slice has at most three parts");
      bounds.push_back(nullptr);
    } else if (bounds.back() == nullptr) {
      bounds.back() = expression();
    } else {
      stream_.fail("']' is wanted, saw ", stream_.describe());
    }
  }
  stream_.expect_sign("]");
  const bool slice = bounds.size() > 1;
  if (!slice && bounds[0] == nullptr) stream_.fail_at(line, "there is nothing between '[' and ']'");
  Node chosen = node(slice ? Kind::Slice : Kind::Item, line);
  chosen->parts.push_back(std::move(value));
  for (auto& bound : bounds) chosen->parts.push_back(std::move(bound));
  if (slice) chosen->parts.resize(4);
  return done(std::move(chosen));
}

void ExpressionParser::arguments(Expression& call) {
  stream_.expect_sign("(");
  bool first = true;
  while (!stream_.is_sign(")")) {
    if (!std::exchange(first, false)) stream_.expect_sign(",");
    if (stream_.is_sign(")")) break;
    if (stream_.is_sign("*") || stream_.is_sign("**")) stream_.fail("'*' in arguments is not supported");
    const bool named = stream_.is(Token::Kind::Name) && stream_.ahead().kind == Token::Kind::Sign &&
                       stream_.ahead().text == "=";
    if (named) {
      std::string name = stream_.take().text;
      for (const auto& other : call.named) {
        if (other.name == name) stream_.fail("the argument '", name, "' is given twice");
      }
      stream_.take();
      call.named.push_back({std::move(name), expression()});
    } else {
      if (!call.named.empty()) stream_.fail("an argument without a name follows one with a name");
      call.parts.push_back(expression());
    }
  }
  stream_.expect_sign(")");
}

ExpressionPtr ExpressionParser::call(ExpressionPtr callee) {
  Node made = node(Kind::Call, stream_.current().line);
  made->parts.push_back(std::move(callee));
  arguments(*made);
  return done(std::move(made));
}

std::string ExpressionParser::dotted_name(const char* what) {
  std::string name = stream_.expect_name(what);
  while (stream_.skip_sign(".")) name += "." + stream_.expect_name(what);
  return name;
}

ExpressionPtr ExpressionParser::filter(ExpressionPtr value) {
  Node made = node(Kind::Filter, stream_.current().line);
  made->name = dotted_name("the name of a filter");
  made->filter = find_filter(made->name);
  if (made->filter == nullptr) stream_.fail_at(made->line, "the filter '", made->name, "' is not known here");
  made->parts.push_back(std::move(value));
  if (stream_.is_sign("(")) arguments(*made);
  return done(std::move(made));
}

std::vector<ExpressionPtr> ExpressionParser::block_filters() {
  std::vector<ExpressionPtr> filters;
  do {
    filters.push_back(filter(nullptr));
  } while (stream_.skip_sign("|"));
  return filters;
}

ExpressionPtr ExpressionParser::test(ExpressionPtr value) {
  Node made = node(Kind::Test, stream_.take().line);
  const bool negated = stream_.skip_name("not");
  made->name = dotted_name("the name of a test");
  made->test = find_test(made->name);
  if (made->test == nullptr) stream_.fail_at(made->line, "the test '", made->name, "' is not known here");
  made->parts.push_back(std::move(value));
  const auto starts_value = [&] {
    switch (stream_.current().kind) {
      case Token::Kind::Name:
        return !stream_.is_name("else") && !stream_.is_name("or") && !stream_.is_name("and");
      case Token::Kind::String:
      case Token::Kind::Integer:
      case Token::Kind::Real:
        return true;
      default:
        return stream_.is_sign("[") || stream_.is_sign("{");
    }
  };
  if (stream_.is_sign("(")) {
    arguments(*made);
  } else if (starts_value()) {
    if (stream_.is_name("is")) stream_.fail("tests cannot be chained with 'is'");
    const Deeper deeper(stream_);
    made->parts.push_back(postfix(primary()));
  }
  const int line = made->line;
  ExpressionPtr tested = done(std::move(made));
  if (!negated) return tested;
  Node inverse = node(Kind::Not, line);
  inverse->parts.push_back(std::move(tested));
  return done(std::move(inverse));
}

}  // namespace sluice::text::jinja
