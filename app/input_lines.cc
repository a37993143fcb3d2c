#include "app/input_lines.h"

#include <cmath>

#include "base/error.h"
#include "base/json_lines.h"

namespace sluice::app {
namespace {

InputLine read_line(const Json& json, const std::string& where, const std::string& column, bool ids) {
  InputLine line{.where = where, .text = {}, .ids = {}};
  if (ids || (!json.contains(column) && json.contains("ids"))) {
    line.ids = json_member<std::vector<int64_t>>(json, "ids", where);
    require<DataError>(!line.ids.empty(), where, ": \"ids\" is empty");
  } else {
    line.text = json_member<std::string>(json, column, where);
    require<DataError>(!line.text.empty(), where, ": \"", column, "\" is empty");
  }
  return line;
}

}  // namespace

std::vector<InputLine> read_input_lines(const std::filesystem::path& file, const std::string& column,
                                        bool ids) {
  std::vector<InputLine> lines;
  for_each_json_line(file, [&](int64_t number, const Json& row) {
    lines.push_back(read_line(row, file.string() + ":" + std::to_string(number), column, ids));
  });
  require<DataError>(!lines.empty(), file.string(), ": no line in it");
  return lines;
}

std::vector<std::string> read_texts(const std::filesystem::path& file) {
  std::vector<std::string> texts;
  for_each_json_line(file, [&](int64_t number, const Json& row) {
    texts.push_back(json_member<std::string>(row, "text", file.string() + ":" + std::to_string(number)));
  });
  return texts;
}

std::vector<int32_t> checked_ids(const InputLine& line, const model::ModelConfig& config,
                                 int64_t new_tokens) {
  const int64_t tokens = std::ssize(line.ids);
  require<DataError>(tokens > 0, line.where, ": no token in it");
  require<DataError>(new_tokens <= config.max_position && tokens <= config.max_position - new_tokens,
                     line.where, ": ", tokens, " tokens",
                     new_tokens > 0 ? " and " + std::to_string(new_tokens) + " new ones" : "",
                     " do not fit the model's ", config.max_position, " positions");
  std::vector<int32_t> ids;
  for (const int64_t id : line.ids) {
    require<DataError>(id >= 0 && id < config.vocab_size, line.where, ": id ", id, ", the model has ",
                       config.vocab_size, " ids");
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

void check_logprobs(const std::string& where, std::span<const float> logprobs) {
  for (const float logprob : logprobs) require(std::isfinite(logprob), where, ": a log-prob is ", logprob);
}

}  // namespace sluice::app
