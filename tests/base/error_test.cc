#include "base/error.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(Error, SaysItsPartsOneAfterAnother) {
  try {
    fail<DataError>("reader: line ", 7, " has ", 2.5, " fields");
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "reader: line 7 has 2.5 fields");
    EXPECT_EQ(error.code(), ExitCode::Data);
  }
}

TEST(Error, EachKindHasItsExitCode) {
  EXPECT_EQ(static_cast<int>(Error("x").code()), 1);
  EXPECT_EQ(static_cast<int>(UsageError("x").code()), 2);
  EXPECT_EQ(static_cast<int>(DataError("x").code()), 3);
  EXPECT_EQ(static_cast<int>(EnvironmentError("x").code()), 4);
  EXPECT_EQ(static_cast<int>(HealthError("x").code()), 5);
}

TEST(Error, RequireThrowsOnlyWhenTheConditionFails) {
  EXPECT_NO_THROW(require(true, "fine"));
  EXPECT_THROW(require<UsageError>(false, "wrong"), UsageError);
}

}  // namespace
}  // namespace sluice
