#include "text/jsonl_layout.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace sluice::text {
namespace {

constexpr std::array kPromptColumns = {"prompt", "question", "problem", "instruction", "query", "input"};
constexpr std::array kMessageColumns = {"messages", "conversations"};
constexpr std::array kAnswerColumns = {"answer", "ground_truth", "solution", "target", "label"};
constexpr const char* kVerlAnswer = "reward_model.ground_truth";

bool is_filled(const Json& value) {
  return value.is_string()
             ? value.get_ref<const std::string&>().find_first_not_of(" \t\r\n") != std::string::npos
             : !value.is_null() && !(value.is_array() && value.empty());
}

template <class Names>
std::string first_column(const Json& row, const Names& names) {
  for (const char* name : names) {
    if (row.contains(name)) return name;
  }
  return "";
}

const Json* verl_answer(const Json& row) {
  const auto model = row.find("reward_model");
  if (model == row.end() || !model->is_object()) return nullptr;
  const auto answer = model->find("ground_truth");
  return answer == model->end() ? nullptr : &*answer;
}

// A message of either form: {"role", "content"} or ShareGPT's {"from", "value"}.
std::string message_problem(const Json& message, const std::string& where) {
  if (!message.is_object()) return where + " should be an object, saw " + message.type_name();
  const bool shared = message.contains("from");
  const char *speaker = shared ? "from" : "role", *said = shared ? "value" : "content";
  if (!message.contains(speaker) || !message[speaker].is_string()) return where + " has no \"role\"";
  const bool calls = message.contains("tool_calls");  // which may say nothing
  if (!calls && (!message.contains(said) || message[said].is_null()))
    return where + " has no \"" + said + "\"";
  return "";
}

std::string messages_problem(const Json& messages, const std::string& column) {
  if (messages.empty()) return "the column \"" + column + "\" has no message";
  for (size_t i = 0; i < messages.size(); ++i) {
    const auto problem = message_problem(messages[i], column + "[" + std::to_string(i) + "]");
    if (!problem.empty()) return problem;
  }
  return "";
}

// Of a column that is text or messages.
std::string said_problem(const Json& row, const std::string& column) {
  const auto found = row.find(column);
  if (found == row.end()) return "no column \"" + column + "\"";
  if (found->is_array()) return messages_problem(*found, column);
  if (!found->is_string()) {
    return "the column \"" + column + "\" should be text or messages, saw " + std::string(found->type_name());
  }
  return is_filled(*found) ? "" : "the column \"" + column + "\" is empty";
}

std::string pair_problem(const Json& row, const RowLayout& layout) {
  for (const std::string column : {"chosen", "rejected"}) {
    if (const auto problem = said_problem(row, column); !problem.empty()) return problem;
  }
  if (row["chosen"] == row["rejected"]) return "\"chosen\" and \"rejected\" are the same";
  return layout.prompt.empty() ? "" : said_problem(row, layout.prompt);
}

bool has_assistant(const Json& messages) {
  return std::ranges::any_of(messages, [](const Json& message) {
    const auto said = message.value(message.contains("from") ? "from" : "role", "");
    return said == "assistant" || said == "gpt";
  });
}

std::string prompt_problem(const Json& row, const RowLayout& layout) {
  if (const auto problem = said_problem(row, layout.prompt); !problem.empty()) return problem;
  const Json& prompt = row[layout.prompt];
  if (prompt.is_array() && prompt.back().value("role", "") == "assistant")
    return "the conversation in \"" + layout.prompt + "\" ends with what the assistant says";
  if (layout.answer.empty()) return "";
  const Json* answer = layout.answer == kVerlAnswer ? verl_answer(row) : nullptr;
  if (layout.answer != kVerlAnswer && row.contains(layout.answer)) answer = &row[layout.answer];
  if (answer == nullptr) return "no column \"" + layout.answer + "\"";
  return is_filled(*answer) ? "" : "the column \"" + layout.answer + "\" is empty";
}

}  // namespace

std::string layout_name(const RowLayout& layout) {
  const std::string prompt = layout.prompt.empty() ? "" : " (" + layout.prompt + ")";
  switch (layout.kind) {
    case RowKind::Prompts:
      return "prompts" + prompt + (layout.answer.empty() ? "" : " with answers (" + layout.answer + ")");
    case RowKind::Examples:
      return "examples" + prompt + " with completions";
    case RowKind::Conversations:
      return "conversations" + prompt;
    case RowKind::Pairs:
      return "preferences" + prompt + " with chosen and rejected";
    case RowKind::Judged:
      return "judged completions" + prompt + " with label";
    case RowKind::Text:
      return "plain text";
  }
  return "";
}

std::optional<RowLayout> layout_of(const Json& row) {
  RowLayout layout;
  layout.prompt = first_column(row, kPromptColumns);
  const std::string messages = first_column(row, kMessageColumns);
  if (row.contains("chosen") && row.contains("rejected")) {
    layout.kind = RowKind::Pairs;
    return layout;
  }
  if (row.contains("completion") && !layout.prompt.empty()) {
    const bool judged = row.contains("label") && row["label"].is_boolean();
    layout.kind = judged ? RowKind::Judged : RowKind::Examples;
    return layout;
  }
  if (layout.prompt.empty() && !messages.empty()) {
    layout.prompt = messages;
    const Json& list = row[messages];
    const bool answered = list.is_array() && !list.empty() && list.back().is_object() &&
                          has_assistant(Json::array({list.back()}));
    layout.kind = answered ? RowKind::Conversations : RowKind::Prompts;
  } else if (layout.prompt.empty()) {
    if (!row.contains("text")) return std::nullopt;
    layout.kind = RowKind::Text;
    return layout;
  }
  layout.answer = verl_answer(row) != nullptr ? kVerlAnswer : first_column(row, kAnswerColumns);
  return layout;
}

std::string row_problem(const Json& row, const RowLayout& layout) {
  switch (layout.kind) {
    case RowKind::Prompts:
      return prompt_problem(row, layout);
    case RowKind::Conversations: {
      const auto problem = said_problem(row, layout.prompt);
      if (!problem.empty() || has_assistant(row[layout.prompt])) return problem;
      return "the column \"" + layout.prompt + "\" has no message of the assistant to learn";
    }
    case RowKind::Pairs:
      return pair_problem(row, layout);
    case RowKind::Examples:
    case RowKind::Judged: {
      if (const auto problem = said_problem(row, layout.prompt); !problem.empty()) return problem;
      if (layout.kind == RowKind::Judged && !row.value("label", Json()).is_boolean())
        return "the column \"label\" should be true or false";
      return said_problem(row, "completion");
    }
    case RowKind::Text:
      return said_problem(row, "text");
  }
  return "";
}

std::string asked_key(const Json& row, const RowLayout& layout) {
  const std::string column = layout.kind == RowKind::Text ? "text"
                             : layout.prompt.empty()      ? "chosen"
                                                          : layout.prompt;
  const Json value = row.value(column, Json());
  const std::string said = value.is_string() ? value.get<std::string>()
                                             : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string key;
  for (const char c : said) {
    if (std::isspace(static_cast<unsigned char>(c)) == 0) {
      key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!key.empty() && key.back() != ' ') {
      key += ' ';
    }
  }
  if (key.ends_with(' ')) key.pop_back();
  return key;
}

}  // namespace sluice::text
