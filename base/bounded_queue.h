// A first-in first-out queue between threads that holds at most `capacity` items.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "base/error.h"

namespace sluice {

// Safe from any thread. After close(), pushes are refused and pops drain what is left.
template <class T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {
    require(capacity > 0, "BoundedQueue: a capacity of 0 holds nothing");
  }

  // Waits for room. False when the queue is closed or the deadline has passed: the item is then unchanged.
  bool push(T&& item, std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    const auto ready = [this] { return closed_ || items_.size() < capacity_; };
    if (!changed_.wait_for(lock, timeout, ready) || closed_) return false;
    items_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }

  // Waits for an item. Empty when the deadline has passed, or when the queue is closed and drained.
  std::optional<T> pop(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, timeout, [this] { return closed_ || !items_.empty(); })) return std::nullopt;
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    changed_.notify_all();
    return item;
  }

  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

  size_t size() const {
    const std::lock_guard lock(mutex_);
    return items_.size();
  }

 private:
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> items_;  // guarded by mutex_
  bool closed_ = false;  // guarded by mutex_
};

}  // namespace sluice
