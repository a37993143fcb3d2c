#include "monitor/jsonl_sink.h"

#include <cerrno>
#include <fstream>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/json.h"

namespace sluice::monitor {
namespace {

namespace fs = std::filesystem;

// The step of a line, or why it has none.
struct LineStep {
  int64_t step = 0;
  std::string problem;
};

LineStep line_step(const std::string& line, const std::string& where) {
  try {
    const Json json = parse_json(line, where);
    const auto schema = json_member<int64_t>(json, "schema", where);
    require<DataError>(schema == kMetricsSchema, where, ": metrics of schema ", schema,
                       ", this program writes ", kMetricsSchema);
    return {json_member<int64_t>(json, "step", where), ""};
  } catch (const DataError& error) {
    return {0, error.what()};
  }
}

// What a resumed run keeps of its file.
struct Kept {
  uint64_t bytes = 0;
  bool lacks_newline = false;  // a whole last line whose end was not written
};

// Unreadable lines at the end are what a crash left; one in front of a readable line is damage.
Kept kept_part(const fs::path& file, int64_t last_step) {
  require<DataError>(fs::is_regular_file(file), file, " is not a regular file");  // a device may have no end
  std::ifstream in(file, std::ios::binary);
  require<DataError>(in.is_open(), "cannot open ", file);
  Kept kept;
  bool cut = false;
  std::string problem;
  uint64_t offset = 0;
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    const bool whole = !in.eof();
    offset += line.size() + (whole ? 1 : 0);
    const auto [step, why] = line_step(line, file.string() + ":" + std::to_string(number));
    if (why.empty()) require<DataError>(problem.empty(), problem);
    if (problem.empty()) problem = why;
    cut = cut || !why.empty() || step > last_step;
    if (!cut) kept = {offset, !whole};
  }
  require<DataError>(!in.bad(), "cannot read ", file);
  return kept;
}

}  // namespace

JsonlSink::JsonlSink(const fs::path& file, int64_t last_step) {
  Kept kept;
  if (fs::exists(file)) {
    kept = kept_part(file, last_step);
    fs::resize_file(file, kept.bytes);
  }
  file_ = std::fopen(file.c_str(), "ae");
  require<EnvironmentError>(file_ != nullptr, "cannot open ", file, ": ",
                            std::generic_category().message(errno));
  if (kept.lacks_newline) std::fputc('\n', file_);
}

JsonlSink::~JsonlSink() { std::fclose(file_); }

void JsonlSink::write(const StepReport& report) {
  // A note may quote what a policy wrote, which need not be UTF-8.
  const auto line = to_json(report).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  const bool written =
      std::fwrite(line.data(), 1, line.size(), file_) == line.size() && std::fflush(file_) == 0;
  require<EnvironmentError>(written, "metrics.jsonl: cannot write step ", report.step, ": ",
                            std::generic_category().message(errno));
}

}  // namespace sluice::monitor
