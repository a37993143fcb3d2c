#include "base/log_file.h"

#include <fcntl.h>
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

class PosixLogFile final : public LogFile {
 public:
  explicit PosixLogFile(UniqueFd fd) : fd_(std::move(fd)) {}

  uint64_t size() const override {
    struct stat status {};
    require<EnvironmentError>(::fstat(fd_.get(), &status) == 0, "cannot be examined: ", errno_text(errno));
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
    require<EnvironmentError>(retry([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size)); }) == 0,
                              "cannot be cut to ", size, " bytes: ", errno_text(errno));
  }

  void sync() override {
    require<EnvironmentError>(::fdatasync(fd_.get()) == 0, "fdatasync: ", errno_text(errno));
  }

 private:
  const UniqueFd fd_;
};

}  // namespace

std::unique_ptr<LogFile> open_log_file(const std::filesystem::path& file, LogAccess access) {
  const int flags = access == LogAccess::Write ? O_RDWR | O_CREAT : O_RDONLY;
  UniqueFd fd(retry([&] { return ::open(file.c_str(), flags | O_CLOEXEC, 0644); }));
  require<DataError>(fd.valid(), file.string(), ": cannot be opened: ", errno_text(errno));
  // Also where it was there: who made it may have died before its name was on the disk.
  if (access == LogAccess::Write) sync_directory(internal::folder_of(file));
  return std::make_unique<PosixLogFile>(std::move(fd));
}

}  // namespace sluice
