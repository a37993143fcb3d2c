#include "base/shell_word.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(ShellWord, IsInQuotesWhereAShellWouldReadMore) {
  EXPECT_EQ(shell_word("runs/tiny-2.toml"), "runs/tiny-2.toml");
  EXPECT_EQ(shell_word("a b"), "'a b'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_word("$(x)"), "'$(x)'");
  EXPECT_EQ(shell_word("~"), "'~'");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_quoted("optim.lr=1e-3"), "'optim.lr=1e-3'");
}

}  // namespace
}  // namespace sluice
