#include "base/resident_memory.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice {
namespace {

TEST(ResidentMemory, GrowsByWhatIsWrittenTo) {
  constexpr int64_t kBytes = 64 << 20;
  const int64_t before = resident_bytes();
  std::vector<char> written(kBytes, 1);
  EXPECT_GE(resident_bytes() - before, kBytes / 2);
  EXPECT_EQ(written.back(), 1);
}

TEST(ResidentMemory, RemembersItsPeak) {
  constexpr int64_t kBytes = 64 << 20;
  const int64_t before = resident_bytes();
  EXPECT_EQ(std::vector<char>(kBytes, 1).back(), 1);
  EXPECT_GE(peak_resident_bytes() - before, kBytes / 2);
}

}  // namespace
}  // namespace sluice
