// What commands read: JSONL files of texts, or of token ids.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "model/model_config.h"

namespace sluice::app {

struct InputLine {
  std::string where;         // "file:line"
  std::string text;          // empty where ids were given
  std::vector<int64_t> ids;  // until they are checked they may be anything
};

// Every line that is not blank: the text in `column` or, where there is none, the list "ids"; with `ids`
// always that list. Throws DataError "file:line: ..." for a line that is malformed, lacks it or is empty, and
// for a file without lines.
std::vector<InputLine> read_input_lines(const std::filesystem::path& file, const std::string& column,
                                        bool ids);

// The column `text` of every line that is not blank; it may be empty, so that there is an answer to each
// line.
std::vector<std::string> read_texts(const std::filesystem::path& file);

// The line's ids as the network takes them. Throws DataError naming the line for none, for one outside the
// vocabulary and for more than the positions take beside `new_tokens`.
std::vector<int32_t> checked_ids(const InputLine& line, const model::ModelConfig& config,
                                 int64_t new_tokens = 0);

// Throws Error naming the line for one that is not finite, which JSON could not say.
void check_logprobs(const std::string& where, std::span<const float> logprobs);

}  // namespace sluice::app
