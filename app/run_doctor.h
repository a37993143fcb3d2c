// What went wrong in a run, from what it left.
#pragma once

#include <string>

namespace sluice::app {

// Prints how the run ended, the alarms over its steps, what does not add up and what its processes said last,
// and the next command. 1 when there is something to see to.
int examine_run(const std::string& root, bool json);

}  // namespace sluice::app
