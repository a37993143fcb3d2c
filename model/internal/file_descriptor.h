// An open file that is closed with its owner.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"

namespace sluice::model {

class FileDescriptor {
 public:
  // Throws E naming the file when it cannot be opened.
  template <class E>
  static FileDescriptor open(const std::filesystem::path& file, int flags) {
    const int fd = ::open(file.c_str(), flags | O_CLOEXEC, 0644);
    require<E>(fd >= 0, file.string(), ": cannot be opened: ", std::strerror(errno));
    return FileDescriptor(fd);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace sluice::model
