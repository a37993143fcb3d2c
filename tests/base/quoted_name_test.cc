#include "base/quoted_name.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(QuotedName, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(quoted_name("wte"), "\"wte\"");
  EXPECT_EQ(quoted_name("\x1b[2J\"\n"), "\"\\u001b[2J\\\"\\n\"");
  EXPECT_EQ(quoted_name("\xff"), "\"\uFFFD\"");
}

TEST(QuotedName, IsCutWhenItIsLong) {
  EXPECT_EQ(quoted_name(std::string(120, 'x')), '"' + std::string(120, 'x') + '"');
  EXPECT_EQ(quoted_name(std::string(121, 'x')), '"' + std::string(120, 'x') + "...\"");
}

}  // namespace
}  // namespace sluice
