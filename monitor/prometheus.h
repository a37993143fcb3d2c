// The newest step of a run and how things stand since, as Prometheus scrapes them (text format 0.0.4).
#pragma once

#include <string>
#include <vector>

#include "monitor/run_status.h"

namespace sluice::monitor {

// Every family with its help and type; what a stage does not measure is left out. Names and units go by
// Prometheus's conventions: base units, `_total` for what only rises.
std::string prometheus_text(const RunStatus& status);

// The names of all families.
std::vector<std::string> prometheus_names();

}  // namespace sluice::monitor
