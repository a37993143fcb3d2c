// Rows of a dataset: what is asked, what a good answer looks like, and every other column.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace sluice::text {

// One dataset line. `prompt` and `completion` are text; `messages` is null unless the row has a conversation:
// in the place of its text, or beside it where a policy is asked. What a policy is asked by messages alone
// becomes text by render_prompt() of text/chat_prompts.h.
struct Row {
  std::string prompt;
  std::string completion;           // what supervised training learns; empty where there is none
  Json messages;                    // [{"role", "content", ...}]
  int64_t num_prompt_messages = 0;  // of an example: the first ones, which nothing is learned from
  Json columns = Json::object();    // every column of the line, for rewards
  std::string file;
  int64_t line = 0;  // 1-based; for rows that are not lines (text, generated), their ordinal

  std::string where() const;  // "file:line"
  // All that it says, for whoever learns an alphabet from it: the messages' texts a line each, else prompt
  // and completion.
  std::string text() const;
  // What is asked, for people: the prompt, or the messages as JSON in its place.
  std::string asked() const;
};

enum class Split { Train, Test };

// Which rows of the training part are taken, and which of them first; the held-out part stays whole. Each
// reads the part once when it is opened.
struct RowChoice {
  std::optional<double> min_pass_rate, max_pass_rate;  // of `pass_rate_column`, both ends included
  std::string pass_rate_column = "pass_rate";
  int64_t max_prompt_chars = 0;  // of a conversation, those of its prompt's messages; 0: any
  // A column of numbers; empty: shuffled. Small ones come first, the equal among them in an order of the
  // seed; that is the order of the first epoch, later ones are shuffled.
  std::string order_by;

  bool filters() const { return min_pass_rate || max_pass_rate || max_prompt_chars > 0; }
  bool orders() const { return !order_by.empty(); }
};

// Which reader (`use`) and what it needs; keys are those of the recipe's [data] table.
//
// jsonl keeps every column of a line. A prompt is text or a list of messages, in its column or, without that,
// in "messages", which is also kept beside text. An example is, in this order, prompt and completion (both
// text, or both lists of messages), "messages", or plain "text" that has no prompt. A file may be longer than
// the memory: a line takes 8 bytes until it is read.
//
// text has the column `text`; windows do not overlap. gsm8k_notes turns the calculator notes <<48/2=24>> of
// GSM8K's answers into prompt "48/2=", completion "24" and the columns `answer` "24", `expression` "48/2" and
// `seen`: in training, that the test file has the expression; in the held-out set, that training kept it.
// Training has a row per note and the generated ones after them, the held-out set one row per expression.
// With `calls` above 0 completions end in a line "A: 24", and that share of them calls the calculator before
// it.
//
// countdown reads no file: it makes tasks of three numbers up to ten, "3 7 5 = 16", with a worked trace as
// completion and the columns `numbers`, `target` and `gold_expr`. No task that is held out is trained on,
// whatever the seed.
//
// digits reads no file: prompt "2,5:9,4", completion and column `answer` "8,1,4,7", the 4 numbers that go on
// from 2 and 5 with the same difference modulo 9 + 1. 500 of its 1,600 prompts are held out.
struct DataOptions {
  struct Part {
    std::filesystem::path path;
    double weight = 1.0;  // its share of the examples drawn, on any scale
  };

  std::string use = "jsonl";  // one of dataset_readers()
  std::filesystem::path path;
  std::vector<Part> mixture;        // of supervised training, in place of `path`; one reader reads them all
  std::filesystem::path test_path;  // jsonl, gsm8k_notes: the held-out file; jsonl may leave it empty
  // jsonl
  std::string prompt_column = "prompt";
  std::string completion_column = "completion";
  // text: the first `train_fraction` of the characters is for training, the rest is held out
  double train_fraction = 0.9;
  int64_t prompt_chars = 24;
  int64_t window_chars = 256;  // length of a supervised example
  // gsm8k_notes
  double calls = 0;        // share of the rows whose completion has the calculator compute the answer
  bool keep_seen = false;  // keep training expressions that occur in the test file
  int64_t generated = 0;   // expressions made from the operands of the training file; countdown: all its rows
  uint64_t seed = 0;       // of what is generated, and of what `choice` finds equal
  RowChoice choice;
};

// Rows by their number, in file order; those of jsonl are read when they are asked for. One thread owns them.
class Rows {
 public:
  virtual ~Rows() = default;
  virtual int64_t size() const = 0;
  // Throws DataError naming file and line of a row that is malformed or lacks the column (with the nearest
  // column that exists).
  virtual Row at(int64_t index) = 0;
  // Rows of the file that DataOptions::choice left out.
  virtual int64_t num_left_out() const { return 0; }
};

// The rows a policy is asked, and those supervised training learns from: `completion` is set, or `messages`.
// There is at least one. Throws DataError when there is none, for a file that cannot be read and for a row
// without the column that `choice` goes by; UsageError for options that make no sense.
std::unique_ptr<Rows> open_prompts(const DataOptions& options, Split split);
std::unique_ptr<Rows> open_examples(const DataOptions& options, Split split);

// The examples for training, file by file of the mixture; open_examples() gives those of all files together.
// Throws as that does, and UsageError for a weight that is not above 0.
struct WeightedRows {
  std::unique_ptr<Rows> rows;
  double weight = 1.0;
  bool in_order = false;  // the first epoch goes by their numbers: see RowChoice::order_by
};
std::vector<WeightedRows> open_mixture(const DataOptions& options);

// All of them in order, one at a time: what checks a file without keeping it.
void for_each_row(Rows& rows, const std::function<void(Row row)>& visit);

// All of them at once.
std::vector<Row> read_prompts(const DataOptions& options, Split split);
std::vector<Row> read_examples(const DataOptions& options, Split split);

// The names `use` may take, for messages and for the schema.
const std::vector<std::string>& dataset_readers();
// Whether `use` needs a path; the others make their rows up.
bool reads_a_file(const std::string& use);

// Training rows whose prompt occurs among the held-out ones: what `sluice data leak` reports.
struct Leak {
  int64_t train_rows = 0;
  int64_t test_rows = 0;
  std::vector<Row> leaked;  // training rows, in order
};
Leak find_leaks(const DataOptions& options);

}  // namespace sluice::text
