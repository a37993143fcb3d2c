// A file that grows at its end, as a log wants it: what was written is safe once it is synced, and not
// before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace sluice {

// Where the bytes of a log lie; a test's own may forget what was not synced. One writer at most. A call that
// fails throws an EnvironmentError that says what could not be done, and leaves it to the caller to name the
// file.
class LogFile {
 public:
  virtual ~LogFile() = default;

  virtual uint64_t size() const = 0;
  // Exactly `count` bytes. Throws DataError when they are not there.
  virtual std::string read(uint64_t offset, uint64_t count) const = 0;
  // A failure may leave any part of them.
  virtual void write(uint64_t offset, std::string_view bytes) = 0;
  virtual void truncate(uint64_t size) = 0;
  // fdatasync. After a failure the file is not to be trusted: the kernel may call pages clean that never
  // reached the disk.
  virtual void sync() = 0;
  // Lets `write_other` fill an empty file, syncs that and puts it in the place of this one, from where it is
  // this one. A crash leaves the one or the other; a failure leaves this one.
  virtual void replace(const std::function<void(LogFile& other)>& write_other) = 0;
};

enum class LogAccess { Read, Write };  // Write makes the file when there is none, and syncs its name

// Throws DataError when it cannot be opened.
std::unique_ptr<LogFile> open_log_file(const std::filesystem::path& file, LogAccess access);

}  // namespace sluice
