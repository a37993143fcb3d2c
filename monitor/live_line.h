// The last line of a terminal while a stage runs: how far it is, and when it will be done.
#pragma once

#include <string>
#include <vector>

#include "monitor/step_report.h"

namespace sluice::monitor {

// How much of its stage is done, from 0 to 1.
double stage_share(const StepReport& report);
// "[######----]", with so many signs between the brackets.
std::string progress_bar(double share, size_t signs);
// Until the stage ends, by the times of its last steps, of which there are some.
double seconds_left(const StepReport& report, const std::vector<double>& step_times);

// "grpo [######----] 62%  38 steps, 1m 05s left".
std::string live_text(const StepReport& report, const std::vector<double>& step_times, size_t columns);

// Drawn below what is printed, on stderr, where both streams are a terminal; elsewhere nothing is.
class LiveLine {
 public:
  LiveLine();
  ~LiveLine();
  LiveLine(const LiveLine&) = delete;

  // Away before anything is printed.
  void clear();
  // There again, after a step.
  void draw(const StepReport& report);

 private:
  const bool interactive_;
  std::vector<double> step_times_;
  bool drawn_ = false;
};

}  // namespace sluice::monitor
