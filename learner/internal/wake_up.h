// Wakes a thread that waits in poll().
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace sluice::learner::internal {

// signal() is safe from any thread.
class WakeUp {
 public:
  WakeUp() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    require<EnvironmentError>(fd_ >= 0, "no eventfd can be made, errno ", errno);
  }
  ~WakeUp() { ::close(fd_); }
  WakeUp(const WakeUp&) = delete;
  WakeUp& operator=(const WakeUp&) = delete;

  void signal() { ::eventfd_write(fd_, 1); }
  void clear() {
    eventfd_t ignored;
    ::eventfd_read(fd_, &ignored);
  }
  // Readable when there was a signal() since the last clear().
  int fd() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace sluice::learner::internal
