// Threads that run one function together, for stretches of microseconds.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

namespace sluice::model::cpu {

// Waiting threads spin for some microseconds, then sleep: a third busy process costs time, not a standstill.
// One thread owns the team and is its thread 0.
class Team {
 public:
  explicit Team(int threads);
  ~Team();
  int size() const { return size_; }

  // Runs work(thread) on every thread and returns when all are done. What a thread throws is thrown here;
  // while others wait at a barrier() none must throw.
  void run(const std::function<void(int)>& work);
  // For the work alone: returns when all threads have come here.
  void barrier();

 private:
  void serve(const std::stop_token& stop, int thread);
  void call(int thread);

  const int size_;
  const std::function<void(int)>* work_ = nullptr;
  std::vector<std::exception_ptr> thrown_;  // [threads]
  // Each on a line of its own: they are what the threads wait for.
  alignas(64) std::atomic<uint32_t> round_ = 0;     // of run(); the last one tells the threads to end
  alignas(64) std::atomic<uint32_t> finished_ = 0;  // threads that have done the round
  alignas(64) std::atomic<uint32_t> arrived_ = 0;   // at the barrier
  alignas(64) std::atomic<uint32_t> passed_ = 0;    // barriers
  std::vector<std::jthread> threads_;               // last, so that they end before what they use
};

}  // namespace sluice::model::cpu
