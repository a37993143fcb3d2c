#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/internal/columns.h"
#include "text/internal/line_index.h"
#include "text/internal/readers.h"

namespace sluice::text::internal {
namespace {

const std::filesystem::path& file_of(const DataOptions& options, Split split) {
  if (split == Split::Train) {
    require<UsageError>(!options.path.empty(), "data.path: the jsonl reader needs a file");
    return options.path;
  }
  require<UsageError>(!options.test_path.empty(), "data.test_path: there is no held-out file for ",
                      options.path.string());
  return options.test_path;
}

bool has_list(const Json& object, const std::string& column) {
  const auto found = object.find(column);
  return found != object.end() && found->is_array();
}

void require_filled(const std::string& text, const std::string& column, const Row& row) {
  require<DataError>(!text.empty(), row.where(), ": the column \"", column, "\" is empty");
}

// The messages of a column. Throws DataError for what is no list of {"role": text, ...}.
Json messages_of(const Json& object, const std::string& column, const Row& row) {
  const Json& list = object[column];
  require<DataError>(list.is_array() && !list.empty(), row.where(), ": the column \"", column,
                     "\" should be a list of messages, saw ",
                     list.is_array() ? "an empty one" : list.type_name());
  for (size_t i = 0; i < list.size(); ++i) {
    json_member<std::string>(list[i].is_object() ? list[i] : Json::object(), "role",
                             row.where() + ": " + column + "[" + std::to_string(i) + "]");
  }
  return list;
}

void read_prompt(const Json& object, const DataOptions& options, Row& row) {
  const std::string& prompt = options.prompt_column;
  row.completion = find_column_text(object, options.completion_column).value_or("");
  const std::string column = has_list(object, prompt) ? prompt : "messages";
  if (has_list(object, column)) row.messages = object[column];
  if (!row.messages.is_null() && find_column_text(object, prompt).value_or("").empty()) {
    const std::string last = messages_of(object, column, row).back()["role"];
    require<DataError>(last != "assistant", row.where(), ": the conversation in \"", column,
                       "\" ends with what the assistant says; a prompt ends with what it is to answer");
    return;
  }
  row.prompt = column_text(object, prompt, row.where(), "prompt_column");
  require_filled(row.prompt, prompt, row);
}

void read_conversation(const Json& object, const std::vector<std::string>& columns, Row& row) {
  row.messages = Json::array();
  for (const auto& column : columns) {
    row.num_prompt_messages = std::ssize(row.messages);  // all but those of the last column
    for (Json& message : messages_of(object, column, row)) row.messages.push_back(std::move(message));
  }
  const bool answers = std::any_of(row.messages.begin() + row.num_prompt_messages, row.messages.end(),
                                   [](const Json& message) { return message["role"] == "assistant"; });
  require<DataError>(answers, row.where(), ": the column \"", columns.back(),
                     "\" has no message of the role \"assistant\" to learn");
}

void read_example(const Json& object, const DataOptions& options, Row& row) {
  const std::string &prompt = options.prompt_column, &completion = options.completion_column;
  if (!object.contains(completion)) {
    if (has_list(object, "messages")) return read_conversation(object, {"messages"}, row);
    if (object.contains("text") && !object.contains(prompt)) {
      row.completion = column_text(object, "text", row.where(), /*option=*/"");
      return require_filled(row.completion, "text", row);
    }
  }
  if (has_list(object, prompt) || has_list(object, completion)) {
    for (const auto& column : {prompt, completion}) {
      require<DataError>(object.contains(column), row.where(), ": no column \"", column,
                         "\" beside the other's messages");
    }
    return read_conversation(object, {prompt, completion}, row);
  }
  row.prompt = column_text(object, prompt, row.where(), "prompt_column");
  row.completion = column_text(object, completion, row.where(), "completion_column");
  require_filled(row.completion, completion, row);
}

class JsonLines : public Rows {
 public:
  using Read = void (*)(const Json& object, const DataOptions& options, Row& row);

  JsonLines(const DataOptions& options, Split split, Read read)
      : options_(options), read_(read), file_(file_of(options_, split).string()), lines_(file_) {}

  int64_t size() const override { return lines_.size(); }

  Row at(int64_t index) override {
    Row row;
    row.file = file_;
    row.line = lines_.number(index);
    row.columns = parse_json(lines_.read(index), row.where());
    require<DataError>(row.columns.is_object(), row.where(), ": expected a JSON object, saw ",
                       row.columns.type_name());
    read_(row.columns, options_, row);
    return row;
  }

 private:
  const DataOptions options_;
  const Read read_;
  const std::string file_;
  LineIndex lines_;
};

}  // namespace

std::unique_ptr<Rows> open_jsonl_prompts(const DataOptions& options, Split split) {
  return std::make_unique<JsonLines>(options, split, read_prompt);
}

std::unique_ptr<Rows> open_jsonl_examples(const DataOptions& options, Split split) {
  return std::make_unique<JsonLines>(options, split, read_example);
}

}  // namespace sluice::text::internal
