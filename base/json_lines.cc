#include "base/json_lines.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "base/error.h"

namespace sluice {
namespace {

void visit_lines(const std::filesystem::path& file, bool last_may_be_cut,
                 const std::function<void(int64_t line, Json row)>& visit) {
  require<DataError>(!std::filesystem::is_directory(file), file.string(),
                     ": is a folder, not a file of JSON lines");
  std::ifstream stream(file, std::ios::binary);
  require<DataError>(stream.is_open(), file.string(), ": cannot be opened: ", std::strerror(errno));

  std::string text;
  for (int64_t line = 1; std::getline(stream, text); ++line) {
    if (last_may_be_cut && stream.eof()) break;
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = file.string() + ":" + std::to_string(line);
    Json row = parse_json(text, where);
    require<DataError>(row.is_object(), where, ": expected a JSON object, saw ", row.type_name());
    visit(line, std::move(row));
  }
  require<DataError>(!stream.bad(), file.string(), ": cannot be read to its end: ", std::strerror(errno));
}

}  // namespace

void for_each_json_line(const std::filesystem::path& file,
                        const std::function<void(int64_t line, Json row)>& visit) {
  visit_lines(file, /*last_may_be_cut=*/false, visit);
}

void for_each_whole_json_line(const std::filesystem::path& file,
                              const std::function<void(int64_t line, Json row)>& visit) {
  if (std::filesystem::exists(file)) visit_lines(file, /*last_may_be_cut=*/true, visit);
}

}  // namespace sluice
