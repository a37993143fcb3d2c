#include "base/utf8.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(WholeCharacters, EndBetweenCharacters) {
  EXPECT_EQ(whole_characters("abc", 3), "abc");
  EXPECT_EQ(whole_characters("abc", 2), "ab");
  EXPECT_EQ(whole_characters("a\xC3\xA9z", 2), "a");  // the second byte of an e with an accent is the bound
  EXPECT_EQ(whole_characters("a\xC3\xA9z", 3), "a\xC3\xA9");
  EXPECT_EQ(whole_characters("\xF0\x9F\x99\x82", 3), "");
  EXPECT_EQ(whole_characters("", 0), "");
}

}  // namespace
}  // namespace sluice
