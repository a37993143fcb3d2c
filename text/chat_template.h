// Conversations to text, by the Jinja template a model directory carries.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace sluice::text {

// Bounds on a rendering: the template comes with the model and is hostile until it has ended.
struct TemplateLimits {
  int64_t max_steps = 1'000'000;
  int64_t max_output_bytes = 16 << 20;
  int64_t max_depth = 64;  // of nested blocks, expressions and macro calls
  int64_t timeout_ms = 2000;
};

struct ChatOptions {
  bool add_generation_prompt = false;
  Json tools;                   // null, or an array of function descriptions
  Json extra = Json::object();  // further variables: {"enable_thinking": false}
};

// Those that the columns of a dataset's row say: "tools" and "chat_template_kwargs".
ChatOptions chat_options_of(const Json& columns);

// A rendered conversation, and what of it the model is to learn.
struct RenderedChat {
  std::string text;
  // Byte ranges [first, end) of `text` inside {% generation %} blocks, in order.
  std::vector<std::pair<size_t, size_t>> generation;
};

// A parsed template. Immutable, safe from any thread. The language is the part of Jinja that templates of
// models use (docs/chat_templates.md lists it); values are JSON and nothing else can be reached.
class ChatTemplate {
 public:
  // Throws DataError "where:line: ..." for what is malformed and for a construct that is not known, by name.
  // `variables` are what the template sees beside the conversation: bos_token, eos_token, ...
  ChatTemplate(std::string source, Json variables, const std::string& where,
               const TemplateLimits& limits = {});
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // `messages` is an array of {"role", "content", ...}. Throws DataError "where:line: ..." when the template
  // raises one (raise_exception), goes past a limit, or asks for what the conversation lacks.
  RenderedChat render(const Json& messages, const ChatOptions& options = {}) const;

  // This template, but render() takes `other` in its place when there are tools.
  ChatTemplate with_tool_template(ChatTemplate other) &&;

  const std::string& source() const;
  std::string hash() const;  // SHA-256 of the source and of that for tools

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
  std::unique_ptr<const ChatTemplate> tool_template_;  // may be null
};

// The template of a model directory: chat_template.jinja, else `chat_template` of tokenizer_config.json (a
// string, or the one named "default" of a list, and "tool_use" where there are tools). Its variables are the
// special tokens that tokenizer_config.json and special_tokens_map.json name. Nothing when there is none.
// Throws DataError naming the file for one that is malformed, and for a list without "default".
std::optional<ChatTemplate> load_chat_template(const std::filesystem::path& directory);

}  // namespace sluice::text
