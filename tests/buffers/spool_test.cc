#include "buffers/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "tests/base/temp_folder.h"

namespace sluice::buffers {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Spool, HandsOnWhatWasNotCleared) {
  const TempFolder folder;
  {
    Spool spool(folder / "actor.log");
    EXPECT_THAT(spool.take_left().groups, IsEmpty());
    spool.append("one");
    spool.append("two");
    spool.clear(/*history=*/3);
    spool.append("three");
    spool.append("");
    spool.sync();
  }
  auto left = Spool(folder / "actor.log").take_left();
  EXPECT_EQ(left.history, 3);
  EXPECT_THAT(left.groups, ElementsAre("three", ""));
  // Reading takes nothing away: a process that dies at once leaves it to the next.
  EXPECT_THAT(Spool(folder / "actor.log").take_left().groups, ElementsAre("three", ""));
}

TEST(Spool, LosesOnlyWhatACrashCutOff) {
  const TempFolder folder;
  const auto file = folder / "actor.log";
  uint64_t before = 0;
  {
    Spool spool(file);
    spool.append("one");
    before = spool.size();
    spool.append("two");
  }
  for (uint64_t size = fs::file_size(file) - 1; size >= before; --size) {
    fs::resize_file(file, size);
    EXPECT_THAT(Spool(file).take_left().groups, ElementsAre("one")) << size;
  }
  EXPECT_EQ(fs::file_size(file), before);
}

TEST(Spool, DoesNotGrowWithWhatIsAcknowledged) {
  const TempFolder folder;
  const std::string group(300'000, 'x');
  uint64_t largest = 0;
  {
    Spool spool(folder / "actor.log");
    for (int i = 0; i < 40; ++i) {
      spool.append(group);
      largest = std::max(largest, spool.size());
      spool.clear(0);
    }
    spool.append("last");
  }
  EXPECT_LT(largest, 2'000'000u);
  EXPECT_THAT(Spool(folder / "actor.log").take_left().groups, ElementsAre("last"));
}

TEST(Spool, RefusesDamageInItsMiddle) {
  const TempFolder folder;
  const auto file = folder / "actor.log";
  {
    Spool spool(file);
    spool.append("one");
    spool.append("two");
    spool.sync();
  }
  std::string bytes = read_file(file);
  bytes[20] = static_cast<char>(bytes[20] ^ 1);
  write_file_atomically(file, bytes);
  EXPECT_THAT(
      [&] { Spool spool(file); },
      testing::ThrowsMessage<DataError>(testing::HasSubstr("spool " + file.string() + ": the record at")));
}

}  // namespace
}  // namespace sluice::buffers
