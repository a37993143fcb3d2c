#include "actors/internal/group_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "tests/base/file_size_limit.h"
#include "tests/base/temp_folder.h"

namespace sluice::actors {
namespace {

using testing::ElementsAre;

constexpr Millis kSoonMs = 20'000;  // a deadline no passing test reaches

void wait_until_kept(SpoolKeeper& keeper, uint64_t sequence) {
  const SteadyClock clock;
  const Millis deadline = clock.now_ms() + kSoonMs;
  while (keeper.kept() < sequence) {
    ASSERT_LT(clock.now_ms(), deadline) << sequence << " is not kept";
    std::this_thread::yield();
  }
}

TEST(SpoolKeeper, KeepsInTheOrderThatItWasAsked) {
  const TempFolder folder;
  {
    SpoolKeeper keeper(folder / "spool", 1 << 20);
    keeper.take_left();
    for (uint64_t i = 1; i <= 20; ++i) keeper.keep(i, "group " + std::to_string(i));
    wait_until_kept(keeper, 20);
    keeper.forget_all(/*history=*/1);
    keeper.keep(21, "group 21");  // and ends: what waits is written first
  }
  const auto left = buffers::Spool(folder / "spool").take_left();
  EXPECT_EQ(left.history, 1);
  EXPECT_THAT(left.groups, ElementsAre("group 21"));
}

TEST(SpoolKeeper, IsFullUntilAllIsForgotten) {
  const TempFolder folder;
  SpoolKeeper keeper(folder / "spool", 2 << 20);
  keeper.keep(1, std::string(1 << 20, 'x'));
  EXPECT_FALSE(keeper.full());
  keeper.keep(2, std::string(1 << 20, 'x'));
  EXPECT_TRUE(keeper.full());
  wait_until_kept(keeper, 2);
  EXPECT_TRUE(keeper.full());
  keeper.forget_all(0);
  keeper.keep(3, "small");
  wait_until_kept(keeper, 3);
  EXPECT_FALSE(keeper.full());
}

TEST(SpoolKeeper, SaysAtOnceWhatCannotBeWritten) {
  const TempFolder folder;
  EXPECT_THROW(SpoolKeeper(folder / "absent" / "spool", 1), DataError);
  EXPECT_THAT([] { SpoolKeeper("/dev/full", 1); },
              testing::ThrowsMessage<EnvironmentError>(testing::HasSubstr("No space left")));
}

TEST(SpoolKeeper, ThrowsWhatWentWrongFromTheNextQuestion) {
  const TempFolder folder;
  SpoolKeeper keeper(folder / "spool", 1 << 20);
  keeper.keep(1, "small");
  wait_until_kept(keeper, 1);
  const FileSizeLimit limit(4096);
  keeper.keep(2, std::string(8192, 'x'));
  EXPECT_THAT([&] { wait_until_kept(keeper, 2); },
              testing::ThrowsMessage<EnvironmentError>(testing::HasSubstr("cannot write")));
}

}  // namespace
}  // namespace sluice::actors
