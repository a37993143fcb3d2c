#include "text/jinja/parser.h"

#include <algorithm>
#include <utility>

#include "text/jinja/expressions.h"
#include "text/jinja/token_stream.h"

namespace sluice::text::jinja {

namespace {

class Parser {
 public:
  explicit Parser(TokenStream& stream) : stream_(stream), expressions_(stream) {}

  Block run() {
    Block block = body({});
    if (!stream_.is(Token::Kind::End))
      stream_.fail("there is no block that '", stream_.current().text, "' ends");
    return block;
  }

 private:
  using Kind = Statement::Kind;

  // Up to a tag with one of the names, whose name is then the current token; without names, to the end.
  Block body(const std::vector<std::string_view>& ends) {
    const Deeper deeper(stream_);
    Block block;
    while (!stream_.is(Token::Kind::End)) {
      Statement statement;
      statement.line = stream_.current().line;
      if (stream_.is(Token::Kind::Text)) {
        statement.text = stream_.take().text;
      } else if (stream_.is(Token::Kind::OutputBegin)) {
        stream_.take();
        statement.kind = Kind::Output;
        statement.expression = expressions_.tuple_or_expression();
        end_of(Token::Kind::OutputEnd);
      } else {
        stream_.take();
        const std::string name = tag_name();
        if (ends_here(name, ends)) return block;
        statement.line = stream_.take().line;
        tag(name, statement);
        end_of(Token::Kind::BlockEnd);
      }
      block.push_back(std::move(statement));
    }
    return block;
  }

  std::string tag_name() const {
    if (!stream_.is(Token::Kind::Name)) stream_.fail("the name of a tag is wanted, saw ", stream_.describe());
    return stream_.current().text;
  }

  // True as well for a tag that ends some other block: whoever asked for this one says so.
  static bool ends_here(const std::string& name, const std::vector<std::string_view>& ends) {
    return std::find(ends.begin(), ends.end(), name) != ends.end() || name == "else" || name == "elif" ||
           name.starts_with("end");
  }

  // The body of a block and its last tag's name, of those that it may have.
  std::string finish(const std::string& name, int line, Block& out, std::vector<std::string_view> ends) {
    end_of(Token::Kind::BlockEnd);
    out = body(ends);
    if (stream_.is(Token::Kind::End)) stream_.fail_at(line, "'", name, "' has no '", ends.back(), "'");
    const std::string found = stream_.current().text;
    if (std::find(ends.begin(), ends.end(), found) == ends.end()) {
      stream_.fail("'", found, "' stands in the '", name, "' of line ", line, ", which '", ends.back(),
                   "' ends");
    }
    stream_.take();
    return found;
  }

  void end_of(Token::Kind kind) {
    if (!stream_.is(kind)) {
      stream_.fail("'", kind == Token::Kind::BlockEnd ? "%}" : "}}", "' is wanted, saw ", stream_.describe());
    }
    stream_.take();
  }

  void tag(const std::string& name, Statement& out) {
    if (name == "if") return if_tag(out);
    if (name == "for") return for_tag(out);
    if (name == "set") return set_tag(out);
    if (name == "macro") return macro_tag(out);
    if (name == "filter") return filter_tag(out);
    if (name == "with") return with_tag(out);
    if (name == "generation") return generation_tag(out);
    if (name == "break" || name == "continue") {
      if (loops_ == 0) stream_.fail_at(out.line, "'", name, "' stands in no loop");
      out.kind = name == "break" ? Kind::Break : Kind::Continue;
      return;
    }
    stream_.fail_at(out.line, "the tag '", name, "' is not known here");
  }

  void if_tag(Statement& out) {
    out.kind = Kind::If;
    std::string next = "elif";
    while (next == "elif") {
      Branch branch;
      branch.condition = expressions_.tuple_or_expression(false);
      next = finish("if", out.line, branch.body, {"elif", "else", "endif"});
      out.branches.push_back(std::move(branch));
    }
    if (next == "else") finish("if", out.line, out.other, {"endif"});
  }

  void for_tag(Statement& out) {
    out.kind = Kind::For;
    out.target = target(false);
    forbid_loop(out.target);
    if (!stream_.skip_name("in")) stream_.fail("'in' is wanted, saw ", stream_.describe());
    out.expression = expressions_.tuple_or_expression(false);
    if (stream_.skip_name("if")) out.condition = expressions_.expression();
    if (stream_.is_name("recursive")) stream_.fail("a 'recursive' loop is not supported");
    ++loops_;
    const std::string next = finish("for", out.line, out.body, {"else", "endfor"});
    --loops_;
    if (next == "else") finish("for", out.line, out.other, {"endfor"});
  }

  void forbid_loop(const Target& target) const {
    if (target.name == "loop") stream_.fail_at(target.line, "'loop' cannot be the variable of a loop");
    for (const Target& part : target.parts) forbid_loop(part);
  }

  // A name, an attribute of a namespace where one may stand, or several with commas between them.
  Target target(bool attributes) {
    const Deeper deeper(stream_);
    Target first = single_target(attributes);
    if (!stream_.is_sign(",")) return first;
    Target all;
    all.line = first.line;
    all.tuple = true;
    all.parts.push_back(std::move(first));
    while (stream_.skip_sign(",") && (stream_.is(Token::Kind::Name) || stream_.is_sign("(")) &&
           !stream_.is_name("in")) {
      all.parts.push_back(single_target(attributes));
    }
    return all;
  }

  Target single_target(bool attributes) {
    if (stream_.skip_sign("(")) {
      Target inner = target(attributes);
      stream_.expect_sign(")");
      return inner;
    }
    Target out;
    out.line = stream_.current().line;
    out.name = stream_.expect_name("the name of a variable");
    static constexpr std::string_view kConstants[] = {"true", "false", "none", "True", "False", "None"};
    for (const std::string_view constant : kConstants) {
      if (out.name == constant) stream_.fail_at(out.line, "'", constant, "' cannot be assigned to");
    }
    if (attributes && stream_.skip_sign(".")) out.attribute = stream_.expect_name("the name of an attribute");
    return out;
  }

  void set_tag(Statement& out) {
    out.target = target(true);
    if (stream_.skip_sign("=")) {
      out.kind = Kind::Set;
      out.expression = expressions_.tuple_or_expression();
      return;
    }
    out.kind = Kind::SetBlock;
    if (stream_.skip_sign("|")) out.filters = expressions_.block_filters();
    buffered("set", out, "endset");
  }

  // A block whose text does not go straight into the output.
  void buffered(const std::string& name, Statement& out, std::string_view end) {
    ++buffers_;
    finish(name, out.line, out.body, {end});
    --buffers_;
  }

  // A block whose body is a function: the loops around it cannot be left from inside.
  void function(const std::string& name, Statement& out, std::string_view end) {
    const int64_t outer = std::exchange(loops_, 0);
    buffered(name, out, end);
    loops_ = outer;
  }

  void macro_tag(Statement& out) {
    out.kind = Kind::Macro;
    out.text = stream_.expect_name("the name of a macro");
    stream_.expect_sign("(");
    while (!stream_.is_sign(")")) {
      if (!out.parameters.empty()) stream_.expect_sign(",");
      Parameter parameter;
      parameter.name = stream_.expect_name("the name of a parameter");
      for (const Parameter& other : out.parameters) {
        if (other.name == parameter.name) stream_.fail("the parameter '", parameter.name, "' stands twice");
      }
      if (stream_.skip_sign("=")) {
        parameter.fallback = expressions_.expression();
      } else if (!out.parameters.empty() && out.parameters.back().fallback != nullptr) {
        stream_.fail("the parameter '", parameter.name, "' follows one with a default and has none");
      }
      out.parameters.push_back(std::move(parameter));
    }
    stream_.expect_sign(")");
    function("macro", out, "endmacro");
  }

  void filter_tag(Statement& out) {
    out.kind = Kind::Filter;
    out.filters = expressions_.block_filters();
    buffered("filter", out, "endfilter");
  }

  void with_tag(Statement& out) {
    out.kind = Kind::With;
    while (!stream_.is(Token::Kind::BlockEnd)) {
      if (!out.parameters.empty()) stream_.expect_sign(",");
      Parameter parameter;
      parameter.name = stream_.expect_name("the name of a variable");
      stream_.expect_sign("=");
      parameter.fallback = expressions_.expression();
      out.parameters.push_back(std::move(parameter));
    }
    finish("with", out.line, out.body, {"endwith"});
  }

  void generation_tag(Statement& out) {
    out.kind = Kind::Generation;
    if (buffers_ > 0)
      stream_.fail_at(out.line, "'generation' cannot stand in a macro, a filter, a set or itself");
    function("generation", out, "endgeneration");
  }

  TokenStream& stream_;
  ExpressionParser expressions_;
  int64_t loops_ = 0;    // around the current token, up to the next function
  int64_t buffers_ = 0;  // blocks around the current token whose text is kept
};

}  // namespace

Block parse(std::string_view source, const std::string& where, int64_t max_depth) {
  TokenStream stream(tokenize(source, where), where, max_depth);
  return Parser(stream).run();
}

}  // namespace sluice::text::jinja
