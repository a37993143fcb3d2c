#include "base/file_lock.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "base/error.h"
#include "base/subprocess.h"
#include "tests/base/temp_folder.h"

namespace sluice {
namespace {

TEST(FileLock, IsHeldByOneAtATime) {
  const TempFolder folder;
  auto first = FileLock::acquire(folder / "lock", 0);
  ASSERT_TRUE(first.has_value());

  EXPECT_FALSE(FileLock::acquire(folder / "lock", 30).has_value());
  first.reset();
  EXPECT_TRUE(FileLock::acquire(folder / "lock", 0).has_value());
}

TEST(FileLock, MovesWithItsObject) {
  const TempFolder folder;
  auto first = FileLock::acquire(folder / "lock", 0);
  FileLock moved = std::move(*first);
  first.reset();
  EXPECT_FALSE(FileLock::acquire(folder / "lock", 0).has_value());

  moved = *FileLock::acquire(folder / "other", 0);  // lets the first one go
  EXPECT_TRUE(FileLock::acquire(folder / "lock", 0).has_value());
  EXPECT_FALSE(FileLock::acquire(folder / "other", 0).has_value());
}

TEST(FileLock, WaitsUntilTheHolderLetsGo) {
  const TempFolder folder;
  auto first = FileLock::acquire(folder / "lock", 0);
  std::optional<FileLock> second;
  {
    std::jthread waiter([&] { second = FileLock::acquire(folder / "lock", 20'000); });
    first.reset();
  }
  EXPECT_TRUE(second.has_value());
}

TEST(FileLock, IsHeldByAChildAfterItsOwnerIsGone) {
  const TempFolder folder;
  auto lock = FileLock::acquire(folder / "lock", 0);
  auto child = Subprocess::start({.command = {"sleep", "1000"}});
  lock.reset();

  EXPECT_FALSE(FileLock::acquire(folder / "lock", 50).has_value());
  child.signal(SIGKILL);
  EXPECT_TRUE(FileLock::acquire(folder / "lock", 10'000).has_value());
}

// A lock on a file that was removed guards nothing: the next one to come makes a new file and locks that.
TEST(FileLock, OfARemovedFileIsNotGiven) {
  const TempFolder folder;
  auto first = FileLock::acquire(folder / "lock", 0);
  std::filesystem::remove(folder / "lock");
  auto second = FileLock::acquire(folder / "lock", 0);
  ASSERT_TRUE(second.has_value());
  EXPECT_FALSE(FileLock::acquire(folder / "lock", 0).has_value());
}

TEST(FileLock, ThrowsWhenTheFileCannotBeMade) {
  const TempFolder folder;
  EXPECT_THROW(FileLock::acquire(folder / "none" / "lock", 0), EnvironmentError);
}

}  // namespace
}  // namespace sluice
