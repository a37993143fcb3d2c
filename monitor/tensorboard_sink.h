// The run as TensorBoard shows it: scalars, histograms and a few completions, in an event file of its format.
//
// A record is its length, the length's masked CRC-32C, the bytes of an Event message and their masked
// CRC-32C, all little-endian (tensorflow/core/lib/io/record_writer.h).
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/step_report.h"

namespace sluice::monitor {

// What of a step does not fit in a number.
struct StepDetail {
  std::map<std::string, std::vector<double>> distributions;  // "reward" -> one of each completion
  std::map<std::string, std::string> texts;                  // "completion_1" -> prompt and completion
};

class TensorboardSink final : public MetricSink {
 public:
  // Adds a file to the folder, events.out.tfevents.SECONDS.HOST.PID.0. What files of before have of steps
  // after `last_step`, which a resumed run takes again, TensorBoard then passes over. Throws EnvironmentError
  // when the file or a record cannot be written.
  TensorboardSink(const std::filesystem::path& folder, int64_t last_step);
  ~TensorboardSink() override;

  void write(const StepReport& report) override { write(report, {}); }
  void write(const StepReport& report, const StepDetail& detail);
  const std::filesystem::path& file() const { return path_; }

 private:
  void append(std::string_view event);

  std::filesystem::path path_;
  std::FILE* file_;
};

// Of a record: bits rotated and a constant added, since the CRC of bytes that hold their own CRC is no good.
uint32_t masked_crc32c(std::string_view bytes);

}  // namespace sluice::monitor
