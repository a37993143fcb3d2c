#include <utility>

#include "base/error.h"
#include "base/json_lines.h"
#include "text/internal/columns.h"
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

std::vector<Row> read(const DataOptions& options, Split split, bool examples) {
  const auto& file = file_of(options, split);
  std::vector<Row> rows;
  for_each_json_line(file, [&](int64_t line, Json object) {
    Row row;
    row.file = file.string();
    row.line = line;
    if (const auto found = object.find("messages"); found != object.end() && found->is_array()) {
      row.messages = *found;
    }
    // A conversation is text only where the row says so too.
    const auto require_text = [&](const std::string& column) {
      require<DataError>(row.messages.is_null() || !find_column_text(object, column).value_or("").empty(),
                         row.where(), ": a conversation (\"messages\") without text in the column \"", column,
                         "\": there is no chat template in this version");
    };
    require_text(options.prompt_column);
    row.prompt = column_text(object, options.prompt_column, row.where(), "prompt_column");
    if (examples) {
      require_text(options.completion_column);
      row.completion = column_text(object, options.completion_column, row.where(), "completion_column");
    } else {
      row.completion = find_column_text(object, options.completion_column).value_or("");
    }
    const auto& needed = examples ? row.completion : row.prompt;
    require<DataError>(!needed.empty(), row.where(), ": the column \"",
                       examples ? options.completion_column : options.prompt_column, "\" is empty");
    row.columns = std::move(object);
    rows.push_back(std::move(row));
  });
  return rows;
}

}  // namespace

std::vector<Row> read_jsonl_prompts(const DataOptions& options, Split split) {
  return read(options, split, /*examples=*/false);
}

std::vector<Row> read_jsonl_examples(const DataOptions& options, Split split) {
  return read(options, split, /*examples=*/true);
}

}  // namespace sluice::text::internal
