#include "base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/internal/posix.h"

namespace sluice {
namespace {

using internal::errno_text;
using internal::retry;
using internal::UniqueFd;

constexpr Millis kPause = 20;

// False when the file was removed or replaced after it was opened: a lock on it would guard nothing.
bool still_named(int fd, const std::filesystem::path& file) {
  struct stat opened {};
  struct stat named {};
  return ::fstat(fd, &opened) == 0 && ::stat(file.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

}  // namespace

std::optional<FileLock> FileLock::acquire(const std::filesystem::path& file, Millis timeout_ms) {
  const SteadyClock clock;
  const Millis deadline_ms = clock.now_ms() + timeout_ms;
  while (true) {
    // No O_CLOEXEC: a child keeps the lock by holding the descriptor, which is the point of it.
    UniqueFd fd(retry([&] { return ::open(file.c_str(), O_RDWR | O_CREAT, 0644); }));
    require<EnvironmentError>(fd.valid(), "FileLock: cannot open ", file, ": ", errno_text(errno));
    while (retry([&] { return ::flock(fd.get(), LOCK_EX | LOCK_NB); }) != 0) {
      require<EnvironmentError>(errno == EWOULDBLOCK, "FileLock: cannot lock ", file, ": ",
                                errno_text(errno));
      const Millis left_ms = deadline_ms - clock.now_ms();
      if (left_ms <= 0) return std::nullopt;
      // flock() knows no deadline, so the wait is a row of short ones.
      std::this_thread::sleep_for(std::chrono::milliseconds(std::min(left_ms, kPause)));
    }
    if (still_named(fd.get(), file)) return FileLock(fd.release());
    if (clock.now_ms() > deadline_ms) return std::nullopt;
  }
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  FileLock taken(std::move(other));
  std::swap(fd_, taken.fd_);  // what was held here is let go with `taken`
  return *this;
}

// Only close(): LOCK_UN would take the lock away from the children too.
FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace sluice
