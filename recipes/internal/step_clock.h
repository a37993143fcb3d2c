// Where the time of a step goes. A step begins where the one before was reported, so that the whole of a
// stage is in some step, and `step_time` is the sum of its parts.
#pragma once

#include <map>
#include <string>

#include "base/clock.h"
#include "learner/policy_learner.h"

namespace sluice::recipes::internal {

class StepClock {
 public:
  explicit StepClock(const Clock& clock) : clock_(clock), last_(clock.now_ms()) {}

  // What was done since the last call is a part of this name.
  void ends(const std::string& part) {
    const Millis now = clock_.now_ms();
    parts_["time/" + part] += static_cast<double>(now - last_) / 1000.0;
    last_ = now;
  }

  // `time/PART` of each and `step_time`; what comes now is of the next step.
  void report(learner::StepMetrics& metrics) {
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
  std::map<std::string, double> parts_;
};

}  // namespace sluice::recipes::internal
