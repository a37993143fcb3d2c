#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <string>

#include "base/internal/crc32c_portable.h"

namespace sluice {
namespace {

// The check value of the catalogues, then RFC 3720, appendix B.4.
TEST(Crc32c, GivesThePublishedValues) {
  for (const auto crc : {&crc32c, &internal::crc32c_portable}) {
    EXPECT_EQ(crc("123456789", 0), 0xe3069283u);
    EXPECT_EQ(crc(std::string(32, '\0'), 0), 0x8a9136aau);
    EXPECT_EQ(crc(std::string(32, '\xff'), 0), 0x62a8ab43u);
    EXPECT_EQ(crc("", 0), 0u);
  }
}

TEST(Crc32c, TheInstructionAndTheTableAgreeAtEveryLengthAndOffset) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes += static_cast<char>(i * 37 + 11);
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t size = 0; size + begin <= bytes.size(); ++size) {
      const auto part = std::string_view(bytes).substr(begin, size);
      ASSERT_EQ(crc32c(part, 5), internal::crc32c_portable(part, 5)) << begin << " " << size;
    }
  }
}

TEST(Crc32c, ContinuesFromWhatCameBefore) { EXPECT_EQ(crc32c("56789", crc32c("1234")), 0xe3069283u); }

}  // namespace
}  // namespace sluice
