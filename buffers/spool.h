// What an actor has finished and the learner may not have yet, on the actor's disk: a killed actor loses none
// of it, and samples none of it again.
//
// Groups stand in it as they go over the wire. When all are acknowledged it says so, and is emptied once it
// is large; what a crash leaves is sent again, and refused where it had arrived.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log_file.h"

namespace sluice::buffers {

namespace internal {
class RecordLog;
}

// Not safe from several threads.
class Spool {
 public:
  // What an earlier process left, in order.
  struct Left {
    int64_t history = 0;
    std::vector<std::string> groups;  // encoded
  };

  // `name` is for messages.
  Spool(std::unique_ptr<LogFile> file, const std::string& name);
  // Opens or creates the file. Throws DataError when it is damaged.
  explicit Spool(const std::filesystem::path& file);
  ~Spool();

  Left take_left() { return std::move(left_); }

  // Durable only after sync(). A failed write or sync is final.
  void append(std::string_view group);
  // All that is in it was acknowledged, or is not wanted any more; what follows is of this history (how often
  // the run went back to go on in another way).
  void clear(int64_t history);
  void sync();

  uint64_t size() const;  // of the file

 private:
  std::unique_ptr<internal::RecordLog> log_;
  Left left_;
};

}  // namespace sluice::buffers
