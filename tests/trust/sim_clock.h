// The clock of one machine, which may jump, and stand still.
#pragma once

#include "base/clock.h"

namespace sluice::trust {

class SimClock final : public Clock {
 public:
  Millis now_ms() const override { return now_; }

  void pass(Millis ms) {
    if (!stands_still) now_ += ms;
  }
  void jump(Millis ms) { now_ += ms; }

  bool stands_still = false;

 private:
  Millis now_ = 0;
};

}  // namespace sluice::trust
