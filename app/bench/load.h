// How long something took, and whether the machine was quiet meanwhile.
#pragma once

#include <functional>

#include "base/stopwatch.h"

namespace sluice::app {

double seconds_of(const std::function<void()>& work);
// Seconds of a core that this process, and this thread of it, have used.
double cpu_of_process();
double cpu_of_thread();

// A row with more than this kept busy by others says little.
inline constexpr double kQuietCores = 0.1;

// Counts from its making. Of /proc/stat: what all processors did, less what this process and its children
// that have ended did.
class LoadWatch {
 public:
  LoadWatch();
  // Cores that others kept busy in the mean so far; 0 where there is no /proc/stat.
  double others() const;

 private:
  Stopwatch watch_;
  double machine_s_, own_s_;
};

}  // namespace sluice::app
