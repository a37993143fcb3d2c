// The steps of a run as its metrics.jsonl has them, while the run writes it and after.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <vector>

#include "monitor/step_report.h"

namespace sluice::monitor {

// Every step of a metrics.jsonl, in order; a last line without its end is left out, and a file that is not
// there has none. Throws DataError "file:line: ..." for a line that is no step.
void for_each_step(const std::filesystem::path& file, const std::function<void(StepReport report)>& visit);

// An alarm that was raised, and the last step after which it stood.
struct PastAlarm {
  Alarm alarm;
  int64_t until_step = 0;
};

// Reads on from where it was; one thread uses it.
//
// Of a long run the newest half of what is kept is whole and what is older becomes thinner the older it is,
// so that the whole run fits in bounded memory. Of its alarms the last kAlarms are kept.
class RunHistory {
 public:
  static constexpr size_t kAlarms = 1000;
  static constexpr size_t kKept = 4096;
  static constexpr size_t kAll = std::numeric_limits<size_t>::max();

  // A file that is not there yet has no step.
  explicit RunHistory(std::filesystem::path file, size_t kept = kKept);

  // Takes in what was written since the last call, and everything anew where a resumed run has cut the file.
  // A last line without its end is left for later. Returns whether anything changed; throws DataError
  // "file:line: ..." for a line that is no step.
  bool refresh();

  const std::vector<StepReport>& steps() const { return steps_; }
  // In the order in which they were raised; the standing ones are those of the last step.
  const std::vector<PastAlarm>& alarms() const { return alarms_; }
  // Goes up whenever steps that were there before are no longer.
  int64_t generation() const { return generation_; }

 private:
  bool is_where_it_was(std::istream& in) const;
  void take(StepReport report);
  void thin();

  const std::filesystem::path file_;
  const size_t kept_;
  std::vector<StepReport> steps_;
  std::vector<PastAlarm> alarms_;
  int64_t stride_ = 2;  // between the older steps when they next become thinner
  int64_t generation_ = 0;
  int64_t num_lines_ = 0;         // read,
  std::streamoff offset_ = 0;     // which end here,
  std::streamoff last_size_ = 0;  // and the last of them, by which
  uint32_t last_crc_ = 0;         // it is known again
};

}  // namespace sluice::monitor
