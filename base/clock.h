// Time, as something that is handed in: state machines and waits take a Clock, tests hand them a ManualClock.
#pragma once

#include <cstdint>
#include <mutex>

namespace sluice {

// Milliseconds on a clock that never goes back; zero means nothing, only differences do.
using Millis = int64_t;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Millis now_ms() const = 0;
};

// The machine's monotonic clock.
class SteadyClock final : public Clock {
 public:
  Millis now_ms() const override;
};

// Stands still until it is told to move. Safe from any thread.
class ManualClock final : public Clock {
 public:
  Millis now_ms() const override;
  void advance(Millis by_ms);

 private:
  mutable std::mutex mutex_;
  Millis now_ms_ = 0;  // guarded by mutex_
};

// Seconds since 1970, for names and logs only; no decision hangs on it.
double wall_seconds();

}  // namespace sluice
