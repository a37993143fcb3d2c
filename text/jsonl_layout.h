// What the columns of a JSONL file mean: the layouts of TRL, verl and GSM8K, and what is wrong with a row.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace sluice::text {

enum class RowKind {
  Prompts,        // what a policy is asked; an answer for rewards where there is one
  Examples,       // prompt and completion
  Conversations,  // messages, the assistant's among them
  Pairs,          // chosen and rejected
  Judged,         // completion and label
  Text,           // plain text
};

struct RowLayout {
  RowKind kind = RowKind::Prompts;
  std::string prompt;  // the column with what is asked; "" where chosen and rejected are whole conversations
  std::string answer;  // the column that rewards read, "reward_model.ground_truth" among them; or ""
};
std::string layout_name(const RowLayout& layout);  // "prompts (question) with answers (answer)"

// What a row looks like; nothing where no column that is known says it.
std::optional<RowLayout> layout_of(const Json& row);

// What is wrong with a row of that layout, naming the column; "" when nothing is.
std::string row_problem(const Json& row, const RowLayout& layout);

// What is asked, for finding rows that ask the same: letters in lower case, runs of white space one space.
std::string asked_key(const Json& row, const RowLayout& layout);

}  // namespace sluice::text
