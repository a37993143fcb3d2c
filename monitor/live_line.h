// The last line of a terminal while a stage runs: how far it is, and when it will be done.
#pragma once

#include <deque>
#include <string>

#include "monitor/step_report.h"

namespace sluice::monitor {

// "grpo [######----] 62%  38 steps, 1m 05s left". The time is that of the last steps.
std::string live_text(const StepReport& report, const std::deque<double>& step_times, size_t columns);

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
  std::deque<double> step_times_;
  bool drawn_ = false;
};

}  // namespace sluice::monitor
