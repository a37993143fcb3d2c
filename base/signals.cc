#include "base/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/internal/posix.h"

namespace sluice {
namespace {

sigset_t stop_set() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

StopSignals::StopSignals() {
  const sigset_t set = stop_set();
  fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  require<EnvironmentError>(fd_ >= 0, "StopSignals: signalfd failed: ", internal::errno_text(errno));
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

// A signal that nobody has read yet has its ordinary effect now.
StopSignals::~StopSignals() {
  ::close(fd_);
  const sigset_t set = stop_set();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

int StopSignals::received() {
  signalfd_siginfo info{};
  // All of them are read, so that poll() on the descriptor does not keep returning.
  while (internal::retry([&] { return ::read(fd_, &info, sizeof info); }) == sizeof info) {
    if (received_ == 0) received_ = static_cast<int>(info.ssi_signo);
  }
  return received_;
}

}  // namespace sluice
