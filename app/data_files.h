// `sluice data` on files of JSON lines: read one row at a time, however long they are.
#pragma once

#include <cstdint>
#include <string>

#include "text/jsonl_layout.h"

namespace sluice::app {

// Whether it is such a file by its name; else it is a recipe.
bool is_rows_file(const std::string& name);

// Every row that is wrong with file and line, what the columns are, and the lines of a recipe that read them.
// ExitCode::Data when a row is wrong.
int check_rows(const std::string& file, bool json);
// What the rows are, by the first of them. Throws DataError "file:line: ..." for one that says nothing of
// what is asked, and for a file without rows.
struct RowsFound {
  text::RowLayout layout;
  bool gsm8k_answers = false;  // "... #### 42"
  int64_t rows = 0;
};
RowsFound read_rows(const std::string& file);
int show_rows(const std::string& file, int64_t count);
// Writes the first row of all that ask the same. Throws UsageError when `output` is there.
int dedup_rows(const std::string& file, const std::string& output);
// Writes STEM_train.jsonl and STEM_test.jsonl into `folder`; rows that ask the same stay together. Throws
// UsageError when one of them is there.
int split_rows(const std::string& file, double test_share, uint64_t seed, const std::string& folder);
// Rows of `train` that ask what a row of `test` asks; 1 when there are any.
int leaked_rows(const std::string& train, const std::string& test, bool json);

}  // namespace sluice::app
