// Where finished groups are safe before the learner is told of them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <filesystem>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "buffers/spool.h"

namespace sluice::actors {

// Asked by one thread. Sequences rise.
class GroupKeeper {
 public:
  virtual ~GroupKeeper() = default;

  // What an earlier process left; asked once, first.
  virtual buffers::Spool::Left take_left() = 0;
  virtual void keep(uint64_t sequence, const std::string& group) = 0;
  // The last sequence up to which everything is safe. What went wrong meanwhile is thrown here.
  virtual uint64_t kept() = 0;
  // Nothing that was kept is wanted any more; what follows is of this history of the run.
  virtual void forget_all(int64_t history) = 0;
  // Whether it takes no more work on until the learner has taken some off.
  virtual bool full() const = 0;
};

// A spool whose disk nobody waits for: a thread writes what came meanwhile and syncs it at once.
class SpoolKeeper final : public GroupKeeper {
 public:
  // Throws as Spool does. It is full from `max_bytes` on.
  SpoolKeeper(const std::filesystem::path& file, uint64_t max_bytes);

  buffers::Spool::Left take_left() override { return std::move(left_); }
  void keep(uint64_t sequence, const std::string& group) override;
  uint64_t kept() override;
  void forget_all(int64_t history) override;
  bool full() const override;

 private:
  struct Work {
    uint64_t sequence = 0;
    std::string group;     // to be appended, or
    int64_t history = -1;  // all is to be forgotten
  };

  void run(std::stop_token stop);
  void write(const std::deque<Work>& work);
  void ask(Work work);

  buffers::Spool spool_;  // used by thread_ alone once it runs
  buffers::Spool::Left left_;
  const uint64_t max_bytes_;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  // Guarded by mutex_.
  std::deque<Work> waiting_;
  uint64_t kept_ = 0;
  uint64_t bytes_ = 0;  // of the file and of what waits
  std::exception_ptr failure_;
  std::jthread thread_;  // last, so that it stops before anything it uses is destroyed
};

}  // namespace sluice::actors
