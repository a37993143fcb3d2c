// Rows of a dataset: what is asked, what a good answer looks like, and every other column.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"

namespace sluice::text {

// One dataset line. `prompt` and `completion` are text; `messages` is null unless the row has a conversation
// too.
struct Row {
  std::string prompt;
  std::string completion;  // what supervised training learns; empty where there is none
  Json messages;
  Json columns = Json::object();  // every column of the line, for rewards
  std::string file;
  int64_t line = 0;  // 1-based; for rows that are not lines (text, generated), their ordinal

  std::string where() const;  // "file:line"
};

enum class Split { Train, Test };

// Which reader (`use`) and what it needs; keys are those of the recipe's [data] table.
//
// jsonl keeps every column of a line; one with a "messages" array is a conversation and must have its text in
// the columns too: there is no chat template in this version.
// text has the column `text`; windows do not overlap. gsm8k_notes turns the calculator notes <<48/2=24>> of
// GSM8K's answers into prompt "48/2=", completion "24" and the columns `answer` "24", `expression` "48/2" and
// `seen`: in training, that the test file has the expression; in the held-out set, that training kept it.
// Training has a row per note and the generated ones after them, the held-out set one row per expression.
struct DataOptions {
  std::string use = "jsonl";  // jsonl | text | gsm8k_notes
  std::filesystem::path path;
  std::filesystem::path test_path;  // jsonl, gsm8k_notes: the held-out file; jsonl may leave it empty
  // jsonl
  std::string prompt_column = "prompt";
  std::string completion_column = "completion";
  // text: the first `train_fraction` of the characters is for training, the rest is held out
  double train_fraction = 0.9;
  int64_t prompt_chars = 24;
  int64_t window_chars = 256;  // length of a supervised example
  // gsm8k_notes
  bool keep_seen = false;  // keep training expressions that occur in the test file
  int64_t generated = 0;   // further expressions made from the operands and operators of the training file
  uint64_t seed = 0;       // of the generated expressions
};

// The rows a policy is asked, in file order. Throws DataError naming file and line of a row that is malformed
// or lacks the column (with the nearest column that exists), and when there is no row at all; UsageError for
// options that make no sense.
std::vector<Row> read_prompts(const DataOptions& options, Split split);

// The rows supervised training learns from: `completion` is set.
std::vector<Row> read_examples(const DataOptions& options, Split split);

// The names `use` may take, for messages and for the schema.
const std::vector<std::string>& dataset_readers();

// Training rows whose prompt occurs among the held-out ones: what `sluice data leak` reports.
struct Leak {
  int64_t train_rows = 0;
  int64_t test_rows = 0;
  std::vector<Row> leaked;  // training rows, in order
};
Leak find_leaks(const DataOptions& options);

}  // namespace sluice::text
