#include "base/shared_work.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error.h"

namespace sluice {
namespace {

// So many threads for the length of a test.
class WorkThreads {
 public:
  explicit WorkThreads(int threads) { set_work_threads(threads); }
  ~WorkThreads() { set_work_threads(before_); }

 private:
  const int before_ = work_threads();
};

TEST(SharedWork, ComesByEveryNumberOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    const WorkThreads use(threads);
    for (const int64_t count : {0, 1, 2, 7, 100, 1001}) {
      std::vector<int> seen(static_cast<size_t>(count));
      share_work(count, /*grain=*/3, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      EXPECT_EQ(seen, std::vector<int>(static_cast<size_t>(count), 1)) << threads << " threads";
    }
  }
}

TEST(SharedWork, IsSeenWholeByWhoCalled) {
  const WorkThreads use(3);
  std::vector<int64_t> numbers(64);
  for (int64_t round = 1; round <= 5'000; ++round) {
    share_work(64, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) numbers[static_cast<size_t>(i)] = round * i;
    });
    ASSERT_EQ(std::accumulate(numbers.begin(), numbers.end(), int64_t{0}), round * 64 * 63 / 2);
  }
}

// The first two parts wait for each other: one thread alone would wait for ever.
TEST(SharedWork, IsDoneByThreadsAtOnce) {
  const WorkThreads use(2);
  std::latch both(2);
  share_work(2, 1, [&](int64_t, int64_t) { both.arrive_and_wait(); });
}

TEST(SharedWork, IsNotCutSmallerThanItsGrain) {
  const WorkThreads use(4);
  std::mutex mutex;
  std::vector<int64_t> sizes;
  share_work(25, 10, [&](int64_t begin, int64_t end) {
    const std::scoped_lock lock(mutex);
    sizes.push_back(end - begin);
  });
  EXPECT_EQ(sizes.size(), 2U);
  for (const int64_t size : sizes) EXPECT_GE(size, 10);
}

TEST(SharedWork, ThrowsWhatAPartThrewWhenTheOthersAreDone) {
  const WorkThreads use(3);
  std::atomic<int64_t> done = 0;
  const auto work = [&](int64_t begin, int64_t end) {
    done += end - begin;
    if (begin == 0) throw std::runtime_error("the first part");
  };
  EXPECT_THROW(share_work(12, 1, work), std::runtime_error);
  EXPECT_EQ(done, 12);
  share_work(12, 1, [&](int64_t begin, int64_t end) { done += end - begin; });
  EXPECT_EQ(done, 24);
}

TEST(SharedWork, WithinAPartIsTheCallersAlone) {
  const WorkThreads use(2);
  std::atomic<int> parts = 0;
  share_work(2, 1, [&](int64_t, int64_t) {
    const auto self = std::this_thread::get_id();
    share_work(100, 1, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(std::this_thread::get_id(), self);
      EXPECT_EQ(end - begin, 100);
      ++parts;
    });
  });
  EXPECT_EQ(parts, 2);
}

// A learner computes while its publisher packs.
TEST(SharedWork, OfTwoCallersIsDoneByBoth) {
  const WorkThreads use(2);
  std::vector<std::jthread> callers;
  std::atomic<int64_t> sum = 0;
  for (int caller = 0; caller < 2; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 2'000; ++round)
        share_work(10, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    });
  }
  callers.clear();
  EXPECT_EQ(sum, 2 * 2'000 * 10);
}

TEST(SharedWork, NeedsAThread) { EXPECT_THROW(set_work_threads(0), Error); }

}  // namespace
}  // namespace sluice
