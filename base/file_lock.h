// An exclusive lock on a file that lives as long as any process holding it.
#pragma once

#include <filesystem>
#include <optional>

#include "base/clock.h"

namespace sluice {

// Children inherit the lock: it is free only when the owner and all of them are gone, so whoever gets it
// knows that nobody of a dead run still writes.
class FileLock {
 public:
  // Waits up to `timeout_ms`; empty when somebody still holds it. Throws when the file cannot be made.
  static std::optional<FileLock> acquire(const std::filesystem::path& file, Millis timeout_ms);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace sluice
