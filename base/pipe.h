// A pipe between two children, or between a child and this process.
#pragma once

#include "base/internal/posix.h"

namespace sluice {

// No child inherits its ends: they are lent (SubprocessOptions).
class Pipe {
 public:
  Pipe();  // throws EnvironmentError when there is none left

  int read_end() const { return read_.get(); }
  int write_end() const { return write_.get(); }
  // Once they are lent: a reader sees the end when nobody has the other end any more.
  void close_read() { read_.reset(); }
  void close_write() { write_.reset(); }

 private:
  internal::UniqueFd read_;
  internal::UniqueFd write_;
};

}  // namespace sluice
