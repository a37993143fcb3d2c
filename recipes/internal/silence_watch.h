// Finds out that a process of the run has fallen silent, and what it was doing.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/clock.h"

namespace sluice::recipes::internal {

// Signs of life are beats (base/pulse.h) and computing, or waiting for a processor on a busy machine: work
// without a beat is long, a wait is not.
class SilenceWatch {
 public:
  // `pulse` is the process's file, removed before it was started.
  SilenceWatch(pid_t pid, std::filesystem::path pulse) : pid_(pid), pulse_(std::move(pulse)) {}

  // "" while it lives, else a sentence: for how long it has been silent and what it was doing. To be asked
  // about once a second.
  std::string look(Millis now);

 private:
  const pid_t pid_;
  const std::filesystem::path pulse_;
  Millis since_ = -1;  // without a sign of life
  uint64_t beats_ = 0;
  double cpu_s_ = 0;  // at since_
};

}  // namespace sluice::recipes::internal
