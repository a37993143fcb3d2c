// How a run stands: what its files say at one moment.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/json.h"
#include "monitor/step_report.h"

namespace sluice::monitor {

struct RunStatus {
  std::string name, id;
  std::optional<StepReport> last;  // step
  double state_time = 0;           // of the following, seconds since 1970; 0: there is none
  std::map<std::string, std::string> state;
  std::map<std::string, std::map<std::string, std::string>> actors;
};

}  // namespace sluice::monitor
