// A program run to its end, with what it wrote.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/subprocess.h"

namespace sluice {

struct CaptureLimits {
  Millis wall_ms = 10'000;
  uint64_t output_bytes = 1u << 20;                // of stdout, and of stderr
  const std::atomic<bool>* interrupted = nullptr;  // from another thread: its end is not waited for
};

struct CapturedRun {
  // How it ended; empty where it was killed for a limit.
  std::optional<ExitStatus> status;
  bool timed_out = false;
  bool wrote_too_much = false;
  bool interrupted = false;
  std::string output;  // at most what the limits allow
  std::string errors;
};

// Starts the program, reads its stdout and stderr (where they are not lent to something else), and kills its
// whole group at a limit, or soon after it was interrupted. Throws EnvironmentError when it cannot be
// started.
CapturedRun run_captured(SubprocessOptions options, const CaptureLimits& limits);

}  // namespace sluice
