#include "rewards/code/code_block.h"

#include <gtest/gtest.h>

namespace sluice::rewards::code {
namespace {

TEST(CodeBlock, IsTheLastPythonFenceElseTheLastPlainOneElseEverything) {
  EXPECT_EQ(code_block("x = 1"), "x = 1");
  EXPECT_EQ(code_block("First\n```python\na\n```\nbetter:\n```Python3\nb\nc\n```\nso"), "b\nc\n");
  EXPECT_EQ(code_block("```py\na\n```\n```\noutput\n```"), "a\n");
  EXPECT_EQ(code_block("```\na\n```\nprints\n```text\n3\n```"), "a\n");
  EXPECT_EQ(code_block("```cpp\nint a;\n```"), "```cpp\nint a;\n```");
}

TEST(CodeBlock, GoesToTheEndWhereItIsNotClosed) {
  EXPECT_EQ(code_block("```python\nprint(1)"), "print(1)\n");
  EXPECT_EQ(code_block("```python"), "");
  EXPECT_EQ(code_block(""), "");
}

}  // namespace
}  // namespace sluice::rewards::code
