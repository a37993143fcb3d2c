// metrics.jsonl: one object a line, always on.
#pragma once

#include <cstdio>
#include <filesystem>

#include "monitor/step_report.h"

namespace sluice::monitor {

// Appends; a resumed run first cuts lines of steps after `last_step`, which it will take again, and a torn
// last line. Throws DataError for damage in the middle, EnvironmentError when a line cannot be written.
class JsonlSink final : public MetricSink {
 public:
  JsonlSink(const std::filesystem::path& file, int64_t last_step);
  ~JsonlSink() override;
  void write(const StepReport& report) override;

 private:
  std::FILE* file_;
};

}  // namespace sluice::monitor
