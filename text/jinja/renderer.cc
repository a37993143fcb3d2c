#include "text/jinja/renderer.h"

#include "text/jinja/loop.h"
#include "text/jinja/print.h"

namespace sluice::text::jinja {

class Renderer::Inner {
 public:
  Inner(Renderer& renderer, std::shared_ptr<Scope> parent) : renderer_(renderer), outer_(renderer.scope_) {
    renderer_.scope_ = std::make_shared<Scope>(Scope{std::move(parent), {}});
  }
  explicit Inner(Renderer& renderer) : Inner(renderer, renderer.scope_) {}
  ~Inner() { renderer_.scope_ = std::move(outer_); }
  Inner(const Inner&) = delete;
  Inner& operator=(const Inner&) = delete;

 private:
  Renderer& renderer_;
  std::shared_ptr<Scope> outer_;
};

Renderer::Renderer(Context& context, std::shared_ptr<Scope> variables)
    : context_(context), scope_(std::move(variables)), out_(&chat_.text) {}

RenderedChat Renderer::run(const Block& statements) {
  const Inner inner(*this);
  block(statements);
  return std::move(chat_);
}

Renderer::Flow Renderer::block(const Block& statements) {
  const Nested nested(context_);
  for (const Statement& next : statements) {
    const Flow flow = statement(next);
    if (flow != Flow::Next) return flow;
  }
  return Flow::Next;
}

Renderer::Flow Renderer::statement(const Statement& statement) {
  context_.set_line(statement.line);
  context_.charge();
  switch (statement.kind) {
    case Statement::Kind::Text:
      print(statement.text);
      break;
    case Statement::Kind::Output:
      print(to_text(context_, evaluate(*statement.expression)));
      break;
    case Statement::Kind::If:
      return if_block(statement);
    case Statement::Kind::For:
      return for_block(statement);
    case Statement::Kind::Set:
      set(statement);
      break;
    case Statement::Kind::SetBlock:
    case Statement::Kind::Filter:
      return captured_block(statement);
    case Statement::Kind::Macro:
      define_macro(statement);
      break;
    case Statement::Kind::With:
      return with_block(statement);
    case Statement::Kind::Generation:
      generation(statement);
      break;
    case Statement::Kind::Break:
      return Flow::Break;
    case Statement::Kind::Continue:
      return Flow::Continue;
  }
  return Flow::Next;
}

Renderer::Flow Renderer::captured_block(const Statement& statement) {
  Value text;
  const Flow flow = captured(statement, text);
  if (flow != Flow::Next) return flow;
  if (statement.kind == Statement::Kind::SetBlock) {
    assign(statement.target, text);
  } else {
    print(to_text(context_, text));
  }
  return Flow::Next;
}

void Renderer::print(const std::string& text) {
  context_.charge_bytes(text.size(), out_->size());
  *out_ += text;
}

Renderer::Flow Renderer::if_block(const Statement& statement) {
  for (const Branch& branch : statement.branches) {
    if (truth(evaluate(*branch.condition))) return block(branch.body);
  }
  return block(statement.other);
}

Next Renderer::loop_items(const Statement& statement, const Value& iterable) {
  Next source = iterate(context_, iterable);
  if (statement.condition == nullptr) return source;
  // The condition is asked when the loop gets to an item, in the scope around the loop.
  return [this, &statement, source = std::move(source), around = scope_]() -> std::optional<Value> {
    while (auto item = source()) {
      const Inner inner(*this, around);
      assign(statement.target, *item);
      if (truth(evaluate(*statement.condition))) return item;
    }
    return std::nullopt;
  };
}

Renderer::Flow Renderer::for_block(const Statement& statement) {
  const Value iterable = evaluate(*statement.expression);
  context_.set_line(statement.line);
  const auto length = statement.condition == nullptr ? length_of(iterable) : std::nullopt;
  const auto loop = std::make_shared<Loop>(loop_items(statement, iterable), length, depth_of(iterable));
  const Value loop_value = make_loop(context_, loop);
  bool any = false;  // Jinja counts only what came to the end of the body: not what break and continue left
  while (auto item = loop->next()) {
    const Inner inner(*this);
    scope_->set("loop", loop_value);
    assign(statement.target, *item);
    const Flow flow = block(statement.body);
    if (flow == Flow::Break) break;
    any = any || flow == Flow::Next;
    context_.set_line(statement.line);
  }
  if (any) return Flow::Next;
  const Inner inner(*this);
  return block(statement.other);
}

void Renderer::set(const Statement& statement) {
  const Value value = evaluate(*statement.expression);
  context_.set_line(statement.line);
  assign(statement.target, value);
}

void Renderer::assign(const Target& target, const Value& value) {
  if (target.tuple) {
    const auto items = to_vector(context_, value);
    context_.require(items.size() == target.parts.size(), "there are ", target.parts.size(),
                     " variables for ", items.size(), " values");
    for (size_t i = 0; i < items.size(); ++i) assign(target.parts[i], items[i]);
  } else if (target.attribute.empty()) {
    scope_->set(target.name, value);
  } else {
    const Value* held = scope_->find(target.name);
    Namespace* space = held == nullptr ? nullptr : held->as<Namespace>();
    context_.require(space != nullptr, "'", target.name, "' is no namespace, its attributes cannot be set");
    context_.require(!target.attribute.starts_with("_"), "an attribute's name cannot begin with '_'");
    space->set(target.attribute, value);
  }
}

Renderer::Flow Renderer::captured(const Statement& statement, Value& text) {
  std::string buffer;
  std::string* const outer = std::exchange(out_, &buffer);
  Flow flow = Flow::Next;
  try {
    const Inner inner(*this);
    flow = block(statement.body);
  } catch (...) {
    out_ = outer;
    throw;
  }
  out_ = outer;
  text = Value::text(std::move(buffer));
  for (const auto& filter : statement.filters) text = filtered(*filter, text);
  return flow;
}

void Renderer::define_macro(const Statement& statement) {
  const auto around = scope_;
  // The macro stands in the scope that it sees: a circle, which ends with the rendering.
  context_.at_end([around] { around->variables.clear(); });
  const auto call = [this, &statement, around](Context&, Arguments arguments) {
    return call_macro(statement, around, std::move(arguments));
  };
  scope_->set(statement.text, make_function(context_, statement.text, call, 0));
}

Value Renderer::call_macro(const Statement& macro, const std::shared_ptr<Scope>& scope, Arguments given) {
  const Nested nested(context_);
  const Inner inner(*this, scope);
  bind_parameters(macro, std::move(given));
  Value text;
  captured(macro, text);
  return text;
}

void Renderer::bind_parameters(const Statement& macro, Arguments given) {
  context_.require(given.positional.size() <= macro.parameters.size(), "the macro '", macro.text,
                   "' takes at most ", macro.parameters.size(), " arguments, saw ", given.positional.size());
  std::vector<std::optional<Value>> values(macro.parameters.size());
  for (size_t i = 0; i < given.positional.size(); ++i) values[i] = std::move(given.positional[i]);
  for (auto& [name, value] : given.named) {
    size_t place = 0;
    while (place < values.size() && macro.parameters[place].name != name) ++place;
    context_.require(place < values.size() && !values[place], "the macro '", macro.text,
                     "' takes no argument '", name, "' here");
    values[place] = std::move(value);
  }
  // A default sees every parameter, those that have no value yet as undefined.
  for (size_t i = 0; i < values.size(); ++i) {
    const std::string& name = macro.parameters[i].name;
    scope_->set(name, values[i].value_or(Value::undefined("the parameter '" + name + "' was not given")));
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const Parameter& parameter = macro.parameters[i];
    if (!values[i] && parameter.fallback != nullptr)
      scope_->set(parameter.name, evaluate(*parameter.fallback));
  }
}

Renderer::Flow Renderer::with_block(const Statement& statement) {
  std::vector<Value> values;
  for (const Parameter& parameter : statement.parameters) values.push_back(evaluate(*parameter.fallback));
  const Inner inner(*this);
  for (size_t i = 0; i < values.size(); ++i) scope_->set(statement.parameters[i].name, values[i]);
  return block(statement.body);
}

void Renderer::generation(const Statement& statement) {
  const size_t begin = out_->size();
  const Inner inner(*this);
  block(statement.body);
  chat_.generation.emplace_back(begin, out_->size());
}

}  // namespace sluice::text::jinja
