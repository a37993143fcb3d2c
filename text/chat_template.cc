#include "text/chat_template.h"

#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "text/jinja/parser.h"
#include "text/jinja/renderer.h"

namespace sluice::text {
namespace {

constexpr size_t kMaxSourceBytes = 256 << 10;

// transformers gives a message's reasoning both names that templates ask for, whichever of the three it came
// under.
Json with_reasoning(const Json& message) {
  if (!message.is_object()) return message;
  const Json* reasoning = nullptr;
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto found = message.find(name);
    if (reasoning == nullptr && found != message.end() && !found->is_null()) reasoning = &*found;
  }
  if (reasoning == nullptr) return message;
  Json out = Json::object();
  out["thinking"] = *reasoning;
  for (const auto& [key, value] : message.items()) out[key] = value;
  out["reasoning_content"] = *reasoning;
  return out;
}

std::shared_ptr<jinja::Scope> variables_of(jinja::Context& context, const Json& variables,
                                           const Json& messages, const ChatOptions& options) {
  auto scope = std::make_shared<jinja::Scope>();
  const auto set = [&](const std::string& name, const Json& value) {
    scope->set(name, jinja::from_json(context, value));
  };
  Json conversation = Json::array();
  for (const Json& message : messages) conversation.push_back(with_reasoning(message));
  set("documents", nullptr);
  for (const auto& [name, value] : variables.items()) set(name, value);
  for (const auto& [name, value] : options.extra.items()) set(name, value);
  set("messages", conversation);
  set("tools", options.tools);
  set("add_generation_prompt", options.add_generation_prompt);
  return scope;
}

}  // namespace

struct ChatTemplate::Impl {
  std::string source;
  Json variables;
  std::string where;
  TemplateLimits limits;
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::string source, Json variables, const std::string& where,
                           const TemplateLimits& limits) {
  require<DataError>(source.size() <= kMaxSourceBytes, where, ": a chat template of ", source.size(),
                     " bytes, at most ", kMaxSourceBytes, " are read");
  require<DataError>(variables.is_object(), where, ": the variables of a chat template are an object, saw ",
                     variables.type_name());
  jinja::Block block = jinja::parse(source, where, limits.max_depth);
  impl_ = std::make_unique<const Impl>(
      Impl{std::move(source), std::move(variables), where, limits, std::move(block)});
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

RenderedChat ChatTemplate::render(const Json& messages, const ChatOptions& options) const {
  if (tool_template_ != nullptr && !options.tools.is_null()) return tool_template_->render(messages, options);
  require<DataError>(messages.is_array(), impl_->where, ": the messages of a conversation are an array, saw ",
                     messages.type_name());
  require<DataError>(options.extra.is_object(), impl_->where, ": further variables are an object, saw ",
                     options.extra.type_name());
  jinja::Context context(impl_->where, impl_->limits);
  jinja::Renderer renderer(context, variables_of(context, impl_->variables, messages, options));
  return renderer.run(impl_->block);
}

ChatTemplate ChatTemplate::with_tool_template(ChatTemplate other) && {
  tool_template_ = std::make_unique<const ChatTemplate>(std::move(other));
  return std::move(*this);
}

const std::string& ChatTemplate::source() const { return impl_->source; }

std::string ChatTemplate::hash() const {
  return sha256_hex(sha256_hex(source()) + (tool_template_ == nullptr ? "" : tool_template_->hash()));
}

ChatOptions chat_options_of(const Json& columns) {
  ChatOptions options;
  if (const auto tools = columns.find("tools"); tools != columns.end()) options.tools = *tools;
  const auto variables = columns.find("chat_template_kwargs");
  if (variables != columns.end() && !variables->is_null()) options.extra = *variables;
  return options;
}

}  // namespace sluice::text
