#include "base/state_dump.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/pulse.h"

namespace sluice {
namespace {

struct Parts {
  std::mutex mutex;
  std::vector<const std::function<std::string()>*> describe;  // guarded by mutex
};

Parts& parts() {
  static Parts instance;
  return instance;
}

}  // namespace

Describes::Describes(std::function<std::string()> describe) : describe_(std::move(describe)) {
  const std::lock_guard lock(parts().mutex);
  parts().describe.push_back(&describe_);
}

Describes::~Describes() {
  const std::lock_guard lock(parts().mutex);
  std::erase(parts().describe, &describe_);
}

StateDump::StateDump(std::string who) : who_(std::move(who)) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = internal::UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  stop_ = internal::UniqueFd(::eventfd(0, EFD_CLOEXEC));
  require<EnvironmentError>(signals_.valid() && stop_.valid(),
                            "StateDump: no descriptor for SIGUSR2: ", internal::errno_text(errno));
  thread_ = std::jthread([this](std::stop_token stop) { run(std::move(stop)); });
}

StateDump::~StateDump() {
  thread_.request_stop();
  const uint64_t one = 1;
  (void)internal::retry([&] { return ::write(stop_.get(), &one, sizeof one); });
}

void StateDump::run(std::stop_token stop) const {
  while (!stop.stop_requested()) {
    pollfd waits[2] = {{signals_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    ::poll(waits, 2, -1);
    signalfd_siginfo info{};
    if (internal::retry([&] { return ::read(signals_.get(), &info, sizeof info); }) == sizeof info) answer();
  }
}

void StateDump::answer() const {
  std::cerr << who_ << " (pid " << getpid() << "): " << describe_pulse() << std::endl;
  const std::lock_guard lock(parts().mutex);
  for (const auto* describe : parts().describe) {
    try {
      std::cerr << who_ << ": " << (*describe)() << std::endl;
    } catch (const std::exception& error) {
      std::cerr << who_ << ": " << error.what() << std::endl;
    }
  }
}

}  // namespace sluice
