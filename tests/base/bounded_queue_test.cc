#include "base/bounded_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace sluice {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLong{20'000};  // reached only when the queue is broken
constexpr milliseconds kNow{0};

TEST(BoundedQueue, GivesItemsInTheirOrder) {
  BoundedQueue<int> queue(3);
  for (int i = 1; i <= 3; ++i) EXPECT_TRUE(queue.push(std::move(i), kNow));

  EXPECT_EQ(queue.size(), 3u);
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(queue.pop(kNow), i);
  EXPECT_EQ(queue.pop(kNow), std::nullopt);
}

TEST(BoundedQueue, LeavesAnItemItHasNoRoomForUnchanged) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.push(std::make_unique<int>(1), kNow));

  auto item = std::make_unique<int>(2);
  EXPECT_FALSE(queue.push(std::move(item), milliseconds(1)));

  ASSERT_NE(item, nullptr);
  EXPECT_EQ(*item, 2);
}

TEST(BoundedQueue, DrainsAfterItIsClosedAndTakesNothingNew) {
  BoundedQueue<int> queue(4);
  queue.push(1, kNow);
  queue.push(2, kNow);
  queue.close();

  EXPECT_TRUE(queue.closed());
  EXPECT_FALSE(queue.push(3, kLong));
  EXPECT_EQ(queue.pop(kLong), 1);
  EXPECT_EQ(queue.pop(kLong), 2);
  EXPECT_EQ(queue.pop(kLong), std::nullopt);
}

TEST(BoundedQueue, ClosingEndsEveryWait) {
  BoundedQueue<int> empty(1);
  BoundedQueue<int> full(1);
  full.push(1, kNow);
  bool pushed = true;
  std::optional<int> popped = 5;
  {
    std::jthread pusher([&] { pushed = full.push(2, kLong); });
    std::jthread popper([&] { popped = empty.pop(kLong); });
    full.close();
    empty.close();
  }
  EXPECT_FALSE(pushed);
  EXPECT_EQ(popped, std::nullopt);
}

TEST(BoundedQueue, PassesEveryItemOfManyThreadsOnce) {
  BoundedQueue<int> queue(2);
  std::vector<int> seen(400);
  std::mutex mutex;
  {
    std::vector<std::jthread> poppers;
    for (int t = 0; t < 3; ++t) {
      poppers.emplace_back([&] {
        while (const auto item = queue.pop(kLong)) {
          const std::lock_guard lock(mutex);
          ++seen[static_cast<size_t>(*item)];
        }
      });
    }
    {
      std::vector<std::jthread> pushers;
      for (int t = 0; t < 4; ++t) {
        pushers.emplace_back([&queue, t] {
          for (int i = 0; i < 100; ++i) queue.push(t * 100 + i, kLong);
        });
      }
    }
    queue.close();
  }
  EXPECT_EQ(seen, std::vector<int>(400, 1));
}

TEST(BoundedQueue, RefusesToHoldNothing) { EXPECT_THROW(BoundedQueue<int>(0), Error); }

}  // namespace
}  // namespace sluice
