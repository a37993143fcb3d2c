// How a run was started last and how that ended, for those who look at it afterwards: ended.json of its
// directory.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace sluice::recipes {

struct RunRecord {
  std::string resume;       // the line that goes on with it
  double started = 0;       // seconds since 1970
  std::optional<int> code;  // the exit status; none while it goes on, and when nobody lived to write it
  double ended = 0;
  std::string cause;  // what an error said
};

void write_run_record(const std::filesystem::path& root, const RunRecord& record);
// Nothing of a run that has none, or one that cannot be read.
std::optional<RunRecord> read_run_record(const std::filesystem::path& root);

}  // namespace sluice::recipes
