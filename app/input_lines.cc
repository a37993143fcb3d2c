#include "app/input_lines.h"

#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace sluice::app {
namespace {

InputLine read_line(std::string_view bytes, const std::string& where, const std::string& column, bool ids) {
  const Json json = parse_json(bytes, where);
  require<DataError>(json.is_object(), where, ": not a JSON object");
  InputLine line{.where = where, .text = {}, .ids = {}};
  if (ids) {
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
  const std::string content = read_file(file);
  std::vector<InputLine> lines;
  std::string_view rest = content;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    const auto bytes = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (bytes.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    lines.push_back(read_line(bytes, file.string() + ":" + std::to_string(number), column, ids));
  }
  require<DataError>(!lines.empty(), file.string(), ": no line in it");
  return lines;
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

}  // namespace sluice::app
