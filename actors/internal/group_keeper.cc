#include "actors/internal/group_keeper.h"

#include <algorithm>
#include <utility>

namespace sluice::actors {

SpoolKeeper::SpoolKeeper(const std::filesystem::path& file, uint64_t max_bytes)
    : spool_(file),
      left_(spool_.take_left()),
      max_bytes_(max_bytes),
      bytes_(spool_.size()),
      thread_([this](std::stop_token stop) { run(std::move(stop)); }) {}

void SpoolKeeper::ask(Work work) {
  {
    const std::lock_guard lock(mutex_);
    bytes_ += work.group.size();
    waiting_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void SpoolKeeper::keep(uint64_t sequence, const std::string& group) {
  ask({.sequence = sequence, .group = group});
}

void SpoolKeeper::forget_all(int64_t history) { ask({.history = history}); }

uint64_t SpoolKeeper::kept() {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  return kept_;
}

bool SpoolKeeper::full() const {
  const std::lock_guard lock(mutex_);
  return bytes_ >= max_bytes_;
}

void SpoolKeeper::run(std::stop_token stop) {
  try {
    while (true) {
      std::deque<Work> work;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, stop, [this] { return !waiting_.empty(); });
        if (waiting_.empty()) return;  // asked to stop; what waits is written first
        work.swap(waiting_);
      }
      write(work);
      const std::lock_guard lock(mutex_);
      for (const auto& done : work) kept_ = std::max(kept_, done.sequence);
      bytes_ = spool_.size();
      for (const auto& more : waiting_) bytes_ += more.group.size();
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
  }
}

void SpoolKeeper::write(const std::deque<Work>& work) {
  for (const auto& one : work) {
    if (one.history < 0) {
      spool_.append(one.group);
    } else {
      spool_.clear(one.history);
    }
  }
  spool_.sync();
}

}  // namespace sluice::actors
