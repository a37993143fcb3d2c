#include "base/log_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/files.h"
#include "base/internal/posix.h"
#include "base/internal/sync.h"

namespace sluice {
namespace {

using internal::errno_text;
using internal::retry;
using internal::UniqueFd;

UniqueFd open_fd(const std::filesystem::path& file, int flags) {
  UniqueFd fd(retry([&] { return ::open(file.c_str(), flags | O_CLOEXEC, 0644); }));
  require<DataError>(fd.valid(), file.string(), ": cannot be opened: ", errno_text(errno));
  return fd;
}

class PosixLogFile final : public LogFile {
 public:
  PosixLogFile(UniqueFd fd, std::filesystem::path file) : fd_(std::move(fd)), file_(std::move(file)) {}

  uint64_t size() const override {
    struct stat status {};
    const bool examined = ::fstat(fd_.get(), &status) == 0;
    require<EnvironmentError>(examined, "cannot be examined: ", errno_text(errno));
    return static_cast<uint64_t>(status.st_size);
  }

  std::string read(uint64_t offset, uint64_t count) const override {
    std::string bytes(count, '\0');
    for (uint64_t done = 0; done < count;) {
      const auto got = retry([&] {
        return ::pread(fd_.get(), bytes.data() + done, count - done, static_cast<off_t>(offset + done));
      });
      require<DataError>(got > 0, "cannot read at byte ", offset + done, ": ",
                         got == 0 ? "the file has become shorter" : errno_text(errno));
      done += static_cast<uint64_t>(got);
    }
    return bytes;
  }

  void write(uint64_t offset, std::string_view bytes) override {
    for (uint64_t done = 0; done < bytes.size();) {
      const auto wrote = retry([&] {
        return ::pwrite(fd_.get(), bytes.data() + done, bytes.size() - done,
                        static_cast<off_t>(offset + done));
      });
      require<EnvironmentError>(wrote > 0, "cannot write ", bytes.size(), " bytes at byte ", offset, ": ",
                                errno_text(errno));
      done += static_cast<uint64_t>(wrote);
    }
  }

  void truncate(uint64_t size) override {
    const bool cut = retry([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size)); }) == 0;
    require<EnvironmentError>(cut, "cannot be cut to ", size, " bytes: ", errno_text(errno));
  }

  void sync() override {
    const bool synced = ::fdatasync(fd_.get()) == 0;
    require<EnvironmentError>(synced, "fdatasync: ", errno_text(errno));
  }

  void replace(const std::function<void(LogFile& other)>& write_other) override {
    auto aside = file_;
    aside += ".new";  // of the same folder; what a crash leaves of it is written over the next time
    PosixLogFile other(open_fd(aside, O_RDWR | O_CREAT | O_TRUNC), aside);
    try {
      write_other(other);
      other.sync();
      const bool renamed = ::rename(aside.c_str(), file_.c_str()) == 0;
      require<EnvironmentError>(renamed, "cannot be replaced: ", errno_text(errno));
    } catch (...) {
      ::unlink(aside.c_str());
      throw;
    }
    fd_ = std::move(other.fd_);
    sync_directory(internal::folder_of(file_));
  }

 private:
  UniqueFd fd_;
  const std::filesystem::path file_;
};

}  // namespace

std::unique_ptr<LogFile> open_log_file(const std::filesystem::path& file, LogAccess access) {
  const int flags = access == LogAccess::Write ? O_RDWR | O_CREAT : O_RDONLY;
  UniqueFd fd = open_fd(file, flags);
  // Also where it was there: who made it may have died before its name was on the disk.
  if (access == LogAccess::Write) sync_directory(internal::folder_of(file));
  return std::make_unique<PosixLogFile>(std::move(fd), file);
}

}  // namespace sluice
