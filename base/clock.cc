#include "base/clock.h"

#include <chrono>

#include "base/error.h"

namespace sluice {

Millis SteadyClock::now_ms() const {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
}

Millis ManualClock::now_ms() const {
  const std::lock_guard lock(mutex_);
  return now_ms_;
}

void ManualClock::advance(Millis by_ms) {
  require(by_ms >= 0, "ManualClock: a clock never goes back, asked for ", by_ms, " ms");
  const std::lock_guard lock(mutex_);
  now_ms_ += by_ms;
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace sluice
