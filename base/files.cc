#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "base/internal/posix.h"
#include "base/internal/sync.h"

namespace sluice {

namespace fs = std::filesystem;
using internal::errno_text;
using internal::retry;
using internal::UniqueFd;

namespace internal {

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

fs::path temporary_beside(const fs::path& path, const std::string& suffix) {
  return folder_of(path) / (".tmp-" + path.filename().string() + "-" + std::to_string(::getpid()) + suffix);
}

void write_new_file(const fs::path& file, std::string_view bytes) {
  UniqueFd fd(retry([&] { return ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644); }));
  require<EnvironmentError>(fd.valid(), "cannot create ", file, ": ", errno_text(errno));
  const char* step = nullptr;
  while (!bytes.empty() && step == nullptr) {
    const ssize_t written = retry([&] { return ::write(fd.get(), bytes.data(), bytes.size()); });
    if (written < 0) {
      step = "write ";
    } else {
      bytes.remove_prefix(static_cast<size_t>(written));
    }
  }
  if (step == nullptr && retry([&] { return ::fsync(fd.get()); }) != 0) step = "sync ";
  if (step == nullptr) return;
  const int error = errno;
  ::unlink(file.c_str());
  fail<EnvironmentError>("cannot ", step, file, ": ", errno_text(error));
}

void sync_file(const fs::path& file) {
  const UniqueFd fd(retry([&] { return ::open(file.c_str(), O_RDONLY | O_CLOEXEC); }));
  const bool synced = fd.valid() && retry([&] { return ::fsync(fd.get()); }) == 0;
  require<EnvironmentError>(synced, "cannot sync ", file, ": ", errno_text(errno));
}

}  // namespace internal

std::string read_file(const fs::path& file, uint64_t max_bytes) {
  // O_NONBLOCK: opening a pipe that nobody writes must not wait; it is refused below.
  const UniqueFd fd(retry([&] { return ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }));
  require<DataError>(fd.valid(), "cannot open ", file, ": ", errno_text(errno));
  struct stat status {};
  require<DataError>(::fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode), file,
                     " is not a regular file");
  const auto size = static_cast<uint64_t>(status.st_size);
  require<DataError>(size <= max_bytes, file, " has ", size, " bytes, at most ", max_bytes, " are read");

  std::string bytes;
  bytes.reserve(size + 1);
  // Reads to the end and not just `size` bytes: files of /proc say 0, and a growing one is not cut.
  constexpr size_t kChunk = size_t{1} << 20;
  while (true) {
    const size_t old_size = bytes.size();
    const size_t room = std::max(bytes.capacity() - old_size, size_t{4096});
    bytes.resize(old_size + std::min(room, kChunk));
    const ssize_t n =
        retry([&] { return ::read(fd.get(), bytes.data() + old_size, bytes.size() - old_size); });
    require<DataError>(n >= 0, "cannot read ", file, ": ", errno_text(errno));
    bytes.resize(old_size + static_cast<size_t>(n));
    require<DataError>(bytes.size() <= max_bytes, file, " has more than the ", max_bytes,
                       " bytes that are read");
    if (n == 0) return bytes;
  }
}

void write_file_atomically(const fs::path& file, std::string_view bytes) {
  static std::atomic<uint64_t> ordinal{0};  // two threads may write one name
  const auto temporary = internal::temporary_beside(file, "-" + std::to_string(ordinal++));
  ::unlink(temporary.c_str());  // left by a dead process that had this number
  internal::write_new_file(temporary, bytes);
  if (::rename(temporary.c_str(), file.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    fail<EnvironmentError>("cannot replace ", file, ": ", errno_text(error));
  }
  sync_directory(internal::folder_of(file));
}

void sync_directory(const fs::path& directory) {
  const UniqueFd fd(retry([&] { return ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  const bool synced = fd.valid() && retry([&] { return ::fsync(fd.get()); }) == 0;
  require<EnvironmentError>(synced, "cannot sync the folder ", directory, ": ", errno_text(errno));
}

void replace_symlink(const fs::path& link, const fs::path& target) {
  require(target.is_relative(), "replace_symlink: the target ", target, " is not relative");
  const auto status = fs::symlink_status(link);
  require(!fs::exists(status) || fs::is_symlink(status), "replace_symlink: ", link, " is there and no link");
  const auto temporary = internal::temporary_beside(link);
  ::unlink(temporary.c_str());
  const bool made = ::symlink(target.c_str(), temporary.c_str()) == 0;
  require<EnvironmentError>(made, "cannot make the link ", temporary, ": ", errno_text(errno));
  if (::rename(temporary.c_str(), link.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    fail<EnvironmentError>("cannot replace the link ", link, ": ", errno_text(error));
  }
  sync_directory(internal::folder_of(link));
}

}  // namespace sluice
