// What `sluice reward test` prints of a trial.
#pragma once

#include <cstdint>

#include "app/reward_trial.h"

namespace sluice::app {

struct ReportOptions {
  int64_t group = 0;  // rows scored together; 0: 1, and 64 of a profile
  bool profile = false;
  bool json = false;
};

// Scores the rows and prints them, or what a profile measured. Returns the exit status.
int report_trial(const Trial& trial, const ReportOptions& options);

}  // namespace sluice::app
