// The metrics of one step: every sink reads this and nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace sluice::monitor {

inline constexpr int kMetricsSchema = 1;

// An illness of the run that one of the rules of monitor/health.h sees.
struct Alarm {
  std::string rule;        // its name
  std::string sentence;    // what is seen, with the numbers
  std::string suggestion;  // what to do about it
  int64_t since_step = 0;  // when it was seen first
};

struct StepReport {
  std::string stage;       // its name in the recipe
  int64_t step = 0;        // 1-based, counted through the whole run
  int64_t stage_step = 0;  // 1-based in the stage
  int64_t stage_steps = 0;
  double wall_time = 0;  // seconds since 1970
  std::map<std::string, double>
      metrics;       // names of docs/architecture.md; a number that is not finite is written as null
  std::string note;  // what the person should know about this step: "law: issued 64 = ...", a warning
  std::vector<Alarm> alarms = {};  // that stand after it
};

// As it stands in `alarms`: {"rule", "since", "sentence", "suggestion"}.
Json to_json(const Alarm& alarm);

// One object, flat but for `alarms`. Throws Error when a metric has the name of a field (schema, stage, step,
// wall_time, ...).
Json to_json(const StepReport& report);
// The other way round; a null is not a number. Throws DataError naming `where` for what to_json() never
// gives.
StepReport step_report_from(const Json& json, std::string_view where);

// The one line a step prints: at most 120 columns, the same places in every line of a stage. The note is not
// in it.
std::string step_line(const StepReport& report);

// Somewhere a report goes.
class MetricSink {
 public:
  virtual ~MetricSink() = default;
  virtual void write(const StepReport& report) = 0;
};

}  // namespace sluice::monitor
