// The dataset readers, one per file; the table that names them is in text/dataset.cc.
#pragma once

#include <memory>
#include <vector>

#include "text/dataset.h"

namespace sluice::text::internal {

// One JSON object per line, parsed when it is asked for.
std::unique_ptr<Rows> open_jsonl_prompts(const DataOptions& options, Split split);
std::unique_ptr<Rows> open_jsonl_examples(const DataOptions& options, Split split);

// A plain UTF-8 text cut into windows of characters that do not overlap. Prompts all have the same length, so
// what is left over at the end of the split is no prompt; it is a shorter example.
std::vector<Row> read_text_prompts(const DataOptions& options, Split split);
std::vector<Row> read_text_examples(const DataOptions& options, Split split);

// The calculator notes of GSM8K's answers, "<<48/2=24>>", as sums to solve: see text/gsm8k_notes.cc.
std::vector<Row> read_gsm8k_notes(const DataOptions& options, Split split);

// Tasks made from a seed: see text/countdown_tasks.cc.
std::unique_ptr<Rows> open_countdown(const DataOptions& options, Split split);
// Digit completion, which needs no file: see text/digits.cc.
std::vector<Row> read_digits(const DataOptions& options, Split split);

}  // namespace sluice::text::internal
