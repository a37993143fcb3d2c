#include "model/kernels/team.h"

#include <utility>

#include "base/error.h"

namespace sluice::model::cpu {
namespace {

constexpr int kSpins = 4'000;  // some 50 microseconds

void pause() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#endif
}

// Until the counter is no longer `old`.
void wait_while(const std::atomic<uint32_t>& counter, uint32_t old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (counter.load(std::memory_order_acquire) != old) return;
    pause();
  }
  counter.wait(old, std::memory_order_acquire);
}

}  // namespace

Team::Team(int threads) : size_(threads), thrown_(static_cast<size_t>(threads > 0 ? threads : 0)) {
  require(threads > 0, "threads: ", threads);
  for (int thread = 1; thread < size_; ++thread)
    threads_.emplace_back([this, thread](const std::stop_token& stop) { serve(stop, thread); });
}

Team::~Team() {
  for (auto& thread : threads_) thread.request_stop();
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
}

void Team::run(const std::function<void(int)>& work) {
  work_ = &work;
  finished_.store(0, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  call(0);
  const auto others = static_cast<uint32_t>(size_ - 1);
  for (uint32_t done = 0; (done = finished_.load(std::memory_order_acquire)) != others;)
    wait_while(finished_, done);
  for (auto& thrown : thrown_) {
    if (thrown) std::rethrow_exception(std::exchange(thrown, nullptr));
  }
}

void Team::call(int thread) {
  try {
    (*work_)(thread);
  } catch (...) {
    thrown_[static_cast<size_t>(thread)] = std::current_exception();
  }
}

void Team::serve(const std::stop_token& stop, int thread) {
  for (uint32_t seen = 0;; ++seen) {
    wait_while(round_, seen);
    if (stop.stop_requested()) return;
    call(thread);
    finished_.fetch_add(1, std::memory_order_release);
    finished_.notify_one();
  }
}

void Team::barrier() {
  if (size_ == 1) return;
  const uint32_t passed = passed_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(size_)) {
    arrived_.store(0, std::memory_order_relaxed);
    passed_.store(passed + 1, std::memory_order_release);
    passed_.notify_all();
  } else {
    wait_while(passed_, passed);
  }
}

}  // namespace sluice::model::cpu
