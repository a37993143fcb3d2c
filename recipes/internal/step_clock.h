// Where the time of a step goes. A step begins where the one before was reported, so that the whole of a
// stage is in some step, and `step_time` is the sum of its parts.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/trace.h"
#include "learner/policy_learner.h"

namespace sluice::recipes::internal {

class StepClock {
 public:
  explicit StepClock(const Clock& clock) : clock_(clock), last_(clock.now_ms()) {}

  // What was done since the last call is a part of this name.
  void ends(const std::string& part) {
    traced(part, std::exchange(part_began_us_, trace_clock_us()));
    const Millis now = clock_.now_ms();
    parts_["time/" + part] += static_cast<double>(now - last_) / 1000.0;
    last_ = now;
  }

  // So much of that part, or all of it, was of another.
  void moves(const std::string& part, const std::string& other, double seconds) {
    const double moved = std::min(seconds, parts_["time/" + part]);
    parts_["time/" + part] -= moved;
    parts_["time/" + other] += moved;
  }

  // `time/PART` of each and `step_time`; what comes now is of the step behind `step`, which is counted
  // from 1.
  void report(int64_t step, learner::StepMetrics& metrics) {
    traced("step " + std::to_string(step), std::exchange(step_began_us_, trace_clock_us()));
    double sum = 0;
    for (const auto& [name, seconds] : parts_) {
      metrics[name] = seconds;
      sum += seconds;
    }
    metrics["step_time"] = sum;
    parts_.clear();
  }

 private:
  const Clock& clock_;
  Millis last_;
  int64_t part_began_us_ = trace_clock_us(), step_began_us_ = part_began_us_;  // for a trace
  std::map<std::string, double> parts_;
};

}  // namespace sluice::recipes::internal
