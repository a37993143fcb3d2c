// Rows of preference data: a prompt with two completions that were compared, or with one that was judged.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/chat_template.h"

namespace sluice::text {

struct PreferenceRow {
  Json prompt;                    // text, or a list of {"role", "content", ...}
  std::vector<Json> completions;  // of the prompt's kind: chosen and rejected, or the one that was judged
  bool desirable = true;          // how that was
  double margin = 0.0;            // of a pair: by how much chosen is better, the column "margin"
  ChatOptions chat;               // of a conversation: the columns "tools" and "chat_template_kwargs"
  std::string file;
  int64_t line = 0;  // 1-based; of a file that is one JSON array, the row's ordinal

  std::string where() const;  // "file:line"
  bool is_conversation() const { return prompt.is_array(); }
};

enum class PreferenceColumns {
  Pairs,   // "prompt", "chosen", "rejected"; "margin" where there is one
  Judged,  // "prompt", "completion", "label": true or false
};

// Reads a file of JSON lines, or of one JSON array with such objects in it. There is at least one row.
//
// Prompt and completions are text, or lists of messages {"role", "content"}; those of ShareGPT, {"from",
// "value"}, are read as such, and so is a message that stands alone. A prompt of messages may be called
// "conversations". Where chosen and rejected are messages and the prompt is not, they are whole
// conversations, and the prompt is the messages that they begin with alike.
//
// Throws DataError naming file and line for a row that lacks a column (with the nearest one that it has) or
// has one of another type, an empty prompt or completion, one that does not begin with the assistant, a
// chosen completion that is the rejected one, and conversations that have no common start or of which one is
// the start of the other.
std::vector<PreferenceRow> read_preferences(const std::filesystem::path& file, PreferenceColumns columns);

}  // namespace sluice::text
