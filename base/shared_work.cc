#include "base/shared_work.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace sluice {
namespace {

constexpr int kSpins = 4'000;           // some 50 microseconds, then a thread that waits sleeps
constexpr int64_t kPartsOfAThread = 4;  // so that one that is held up leaves its share to the others
constexpr uint32_t kEnd = std::numeric_limits<uint32_t>::max();

// Until the counter is no longer `old`.
void wait_while(const std::atomic<uint32_t>& counter, uint32_t old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (counter.load(std::memory_order_acquire) != old) return;
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
  }
  counter.wait(old, std::memory_order_acquire);
}

// Within a part, whose own calls are not shared.
thread_local bool is_working = false;

// The threads beside the caller; one caller at a time.
class Crew {
 public:
  // Fewer than asked for where the system gives no more.
  explicit Crew(int helpers) {
    for (int helper = 0; helper < helpers; ++helper) {
      try {
        threads_.emplace_back([this] { serve(); });
      } catch (const std::system_error&) {
        return;
      }
    }
  }
  ~Crew() {
    left_.store(kEnd, std::memory_order_release);
    left_.notify_all();
  }

  void run(uint32_t parts, const std::function<void(int64_t part)>& work) {
    work_ = &work;
    unfinished_.store(parts, std::memory_order_relaxed);
    left_.store(parts, std::memory_order_release);
    wake(parts - 1);
    take_parts();
    for (uint32_t parts_left = 0; (parts_left = unfinished_.load(std::memory_order_acquire)) != 0;)
      wait_while(unfinished_, parts_left);
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  }

 private:
  // So many of those that sleep.
  void wake(size_t helpers) {
    if (helpers >= threads_.size()) return left_.notify_all();
    for (size_t helper = 0; helper < helpers; ++helper) left_.notify_one();
  }

  void serve() {
    // Signals are for those who wait for them.
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    is_working = true;
    while (left_.load(std::memory_order_acquire) != kEnd) {
      take_parts();
      wait_while(left_, 0);
    }
  }

  void take_parts() {
    uint32_t left = left_.load(std::memory_order_relaxed);
    while (left != 0 && left != kEnd) {
      if (!left_.compare_exchange_weak(left, left - 1, std::memory_order_acquire, std::memory_order_relaxed))
        continue;
      do_part(left - 1);
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
      left = left_.load(std::memory_order_relaxed);
    }
  }

  void do_part(uint32_t part) {
    try {
      (*work_)(part);
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!thrown_) thrown_ = std::current_exception();
    }
  }

  const std::function<void(int64_t)>* work_ =
      nullptr;  // read by who took a part: it stays until that is done
  std::mutex mutex_;
  std::exception_ptr thrown_;  // guarded by mutex_ while parts are unfinished
  // Each on a line of its own: they are what the threads wait for.
  alignas(64) std::atomic<uint32_t> left_ = 0;        // parts that nobody has taken, or kEnd
  alignas(64) std::atomic<uint32_t> unfinished_ = 0;  // parts that are not done
  std::vector<std::jthread> threads_;                 // last, so that they end before what they use
};

struct Shared {
  std::mutex mutex;  // of who computes
  std::atomic<int> threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  std::unique_ptr<Crew> crew;  // guarded by mutex, made when it is first of use
};

// Never destroyed: a process that exits does not wait for its threads.
Shared& shared() {
  static auto& state = *new Shared;
  return state;
}

class Working {
 public:
  Working() { is_working = true; }
  ~Working() { is_working = false; }
};

}  // namespace

void set_work_threads(int threads) {
  require(threads > 0, "set_work_threads: ", threads);
  auto& state = shared();
  const std::scoped_lock lock(state.mutex);
  if (threads != state.threads) state.crew.reset();
  state.threads = threads;
}

int work_threads() { return shared().threads; }

void share_work(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& work) {
  if (count <= 0) return;
  auto& state = shared();
  const int64_t threads = state.threads;
  int64_t parts = std::min(threads * kPartsOfAThread, count / std::max<int64_t>(grain, 1));
  if (parts > threads) parts -= parts % threads;
  if (threads == 1 || parts < 2 || is_working) return work(0, count);
  const std::unique_lock lock(state.mutex, std::try_to_lock);
  if (!lock) return work(0, count);
  if (!state.crew) state.crew = std::make_unique<Crew>(static_cast<int>(threads) - 1);
  const Working working;
  state.crew->run(static_cast<uint32_t>(parts),
                  [&](int64_t part) { work(count * part / parts, count * (part + 1) / parts); });
}

}  // namespace sluice
