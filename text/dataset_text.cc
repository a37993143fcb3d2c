#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "text/internal/readers.h"
#include "text/internal/utf8.h"

namespace sluice::text::internal {
namespace {

enum class Rest { Drop, Keep };  // what becomes of a last window that is too short

// The windows of the split as rows whose `text` column is set.
std::vector<Row> windows(const DataOptions& options, Split split, int64_t width, const char* width_key,
                         Rest rest) {
  require<UsageError>(!options.path.empty(), "data.path: the text reader needs a file");
  require<UsageError>(options.train_fraction >= 0.0 && options.train_fraction <= 1.0,
                      "data.train_fraction: from 0 to 1, saw ", options.train_fraction);
  require<UsageError>(width >= 1, "data.", width_key, ": at least 1, saw ", width);

  const std::string file = options.path.string();
  const std::string text = read_file(options.path);
  const auto offsets = character_offsets(text, file);
  const auto num_characters = static_cast<int64_t>(offsets.size()) - 1;
  const auto cut = static_cast<int64_t>(static_cast<double>(num_characters) * options.train_fraction);
  const int64_t begin = split == Split::Train ? 0 : cut;
  const int64_t end = split == Split::Train ? cut : num_characters;
  require<DataError>(rest == Rest::Keep || end - begin >= width, file, ": ", end - begin, " of ",
                     num_characters, " characters are for ",
                     split == Split::Train ? "training" : "the held-out set", ", fewer than data.", width_key,
                     " = ", width);

  std::vector<Row> rows;
  for (int64_t at = begin; at < end;) {
    const int64_t next = at + std::min(width, end - at);
    if (rest == Rest::Drop && next - at < width) break;
    const size_t from = offsets[static_cast<size_t>(at)];
    Row row;
    row.columns["text"] = text.substr(from, offsets[static_cast<size_t>(next)] - from);
    row.file = file;
    row.line = static_cast<int64_t>(rows.size()) + 1;
    rows.push_back(std::move(row));
    at = next;
  }
  return rows;
}

}  // namespace

std::vector<Row> read_text_prompts(const DataOptions& options, Split split) {
  auto rows = windows(options, split, options.prompt_chars, "prompt_chars", Rest::Drop);
  for (auto& row : rows) row.prompt = row.columns["text"].get<std::string>();
  return rows;
}

std::vector<Row> read_text_examples(const DataOptions& options, Split split) {
  auto rows = windows(options, split, options.window_chars, "window_chars", Rest::Keep);
  for (auto& row : rows) row.completion = row.columns["text"].get<std::string>();
  return rows;
}

}  // namespace sluice::text::internal
