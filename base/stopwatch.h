// How long something takes, for who measures: waits go by base/clock.h.
#pragma once

#include <chrono>

namespace sluice {

class Stopwatch {
 public:
  // Since it was made.
  double seconds() const { return std::chrono::duration<double>(Clock::now() - began_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point began_ = Clock::now();
};

}  // namespace sluice
