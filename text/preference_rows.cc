#include "text/preference_rows.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json_lines.h"
#include "text/internal/columns.h"

namespace sluice::text {
namespace {

constexpr JsonLimits kArrayLimits{.max_bytes = size_t{1} << 30};

// What ShareGPT calls the roles.
std::string role_of(const std::string& from) {
  if (from == "human") return "user";
  if (from == "gpt") return "assistant";
  if (from == "observation" || from == "function_response") return "tool";
  return from;
}

bool has_text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string();
}

Json message_of(const Json& message, const std::string& where) {
  if (message.is_object() && has_text(message, "role")) return message;
  require<DataError>(message.is_object() && has_text(message, "from") && has_text(message, "value"), where,
                     " is no message: it should have \"role\" and \"content\", or \"from\" and \"value\"");
  return {{"role", role_of(message["from"].get<std::string>())}, {"content", message["value"]}};
}

// Text or a list of messages, neither of them empty.
Json part_of(const Json& object, const std::string& column, const std::string& where) {
  if (!object.contains(column)) internal::column_text(object, column, where, /*option=*/"");  // says what is
  const Json& value = object[column];
  const std::string here = where + ": the column \"" + column + "\"";
  require<DataError>(value.is_string() || value.is_array() || value.is_object(), here,
                     " should be text or messages, saw ", value.type_name());
  if (value.is_object()) return Json::array({message_of(value, here)});
  require<DataError>(value.is_string() ? !value.get_ref<const std::string&>().empty() : !value.empty(), here,
                     " is empty");
  if (value.is_string()) return value;
  Json messages = Json::array();
  for (size_t i = 0; i < value.size(); ++i) {
    messages.push_back(message_of(value[i], here + ", [" + std::to_string(i) + "]"));
  }
  return messages;
}

bool says_something(const Json& message) {
  const auto content = message.find("content");
  const bool is_filled =
      content != message.end() &&
      (content->is_string() ? !content->get_ref<const std::string&>().empty() : !content->empty());
  return message["role"] == "assistant" && (is_filled || message.contains("tool_calls"));
}

void check_completion(const PreferenceRow& row, const Json& completion, const std::string& column) {
  const std::string here = row.where() + ": the column \"" + column + "\"";
  require<DataError>(completion.type() == row.prompt.type(), here, " is ",
                     completion.is_array() ? "messages" : "text", ", the prompt is ",
                     row.prompt.is_array() ? "messages" : "text");
  if (!row.is_conversation()) return;
  require<DataError>(completion[0]["role"] == "assistant", here,
                     " should go on with a message of the role \"assistant\", saw ", completion[0]["role"]);
  require<DataError>(std::any_of(completion.begin(), completion.end(), says_something), here,
                     " is empty: its messages say nothing");
}

// Two whole conversations into the messages they begin with alike, and the rest of each.
void split_common_start(PreferenceRow& row) {
  Json &chosen = row.completions[0], &rejected = row.completions[1];
  const auto [in_chosen, in_rejected] =
      std::mismatch(chosen.begin(), chosen.end(), rejected.begin(), rejected.end());
  require<DataError>(in_chosen != chosen.begin(), row.where(),
                     ": \"chosen\" and \"rejected\" have no message in common to be the prompt");
  require<DataError>(in_chosen != chosen.end() && in_rejected != rejected.end(), row.where(), ": \"",
                     in_chosen == chosen.end() ? "chosen" : "rejected", "\" is the beginning of the other");
  row.prompt = Json::array();
  for (auto message = chosen.begin(); message != in_chosen; ++message) row.prompt.push_back(*message);
  chosen.erase(chosen.begin(), in_chosen);
  rejected.erase(rejected.begin(), in_rejected);
}

void read_pair(const Json& object, PreferenceRow& row) {
  for (const char* column : {"chosen", "rejected"}) {
    row.completions.push_back(part_of(object, column, row.where()));
  }
  const auto &chosen = row.completions[0], &rejected = row.completions[1];
  require<DataError>(chosen != rejected, row.where(), ": \"chosen\" and \"rejected\" are the same");
  row.margin = json_member_or<double>(object, "margin", 0.0, row.where());
  const char* prompt =
      object.contains("prompt") || !object.contains("conversations") ? "prompt" : "conversations";
  const bool are_messages = chosen.is_array() && rejected.is_array();
  if (are_messages && (!object.contains(prompt) || object[prompt].is_string())) {
    split_common_start(row);
  } else {
    row.prompt = part_of(object, prompt, row.where());
  }
  check_completion(row, row.completions[0], "chosen");
  check_completion(row, row.completions[1], "rejected");
}

void read_judged(const Json& object, PreferenceRow& row) {
  row.prompt = part_of(object, "prompt", row.where());
  row.completions.push_back(part_of(object, "completion", row.where()));
  check_completion(row, row.completions[0], "completion");
  row.desirable = json_member<bool>(object, "label", row.where());
}

void for_each_object(const std::filesystem::path& file,
                     const std::function<void(int64_t line, const Json& object)>& visit) {
  std::ifstream stream(file, std::ios::binary);
  if ((stream >> std::ws).peek() != '[') {
    return for_each_json_line(file, [&](int64_t line, const Json& object) { visit(line, object); });
  }
  const Json rows = read_json(file, kArrayLimits);
  for (size_t i = 0; i < rows.size(); ++i) {
    require<DataError>(rows[i].is_object(), file.string(), ":", i + 1, ": expected a JSON object, saw ",
                       rows[i].type_name());
    visit(static_cast<int64_t>(i) + 1, rows[i]);
  }
}

}  // namespace

std::string PreferenceRow::where() const { return file + ":" + std::to_string(line); }

std::vector<PreferenceRow> read_preferences(const std::filesystem::path& file, PreferenceColumns columns) {
  std::vector<PreferenceRow> rows;
  for_each_object(file, [&](int64_t line, const Json& object) {
    auto& row = rows.emplace_back();
    row.file = file.string();
    row.line = line;
    columns == PreferenceColumns::Pairs ? read_pair(object, row) : read_judged(object, row);
    if (row.is_conversation()) row.chat = chat_options_of(object);
  });
  require<DataError>(!rows.empty(), file.string(), ": there is no row");
  return rows;
}

}  // namespace sluice::text
