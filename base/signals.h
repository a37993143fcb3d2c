// SIGINT and SIGTERM as something a loop asks about.
#pragma once

namespace sluice {

// Blocks both signals in every thread and reads them from a descriptor; SIGPIPE is ignored.
// One per process, made before any thread.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // The first signal received (SIGINT or SIGTERM), or 0. Does not wait.
  int received();
  // Readable when a signal has come; for poll().
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
  int received_ = 0;
};

}  // namespace sluice
