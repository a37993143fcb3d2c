#include "base/failpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <csignal>
#include <iostream>
#include <set>
#include <string>

#include "base/error.h"

namespace sluice {
namespace {

using testing::HasSubstr;

// What it asks for is read once in a process, so each case has a process of its own.
class FailpointDeathTest : public testing::Test {
 protected:
  FailpointDeathTest() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }

  static void in_process(const std::string& value) {
    ::setenv("SLUICE_FAIL", value.c_str(), 1);
    try {
      check_failpoint();
      for (int i = 1; i <= 3; ++i) {
        reach(Failpoint::JournalAfterSync);
        std::cerr << i << " passed; ";
      }
    } catch (const Error& error) {
      std::cerr << error.what();
      std::_Exit(static_cast<int>(error.code()));
    }
    std::_Exit(0);
  }

  static void as_rank(int64_t rank, const std::string& value) {
    ::setenv("SLUICE_FAIL", value.c_str(), 1);
    for (int i = 1; i <= 2; ++i) {
      reach(Failpoint::RanksSum, rank);
      std::cerr << i << " passed; ";
    }
    std::_Exit(0);
  }

  static void numbers(const std::string& value) {
    ::setenv("SLUICE_FAIL", value.c_str(), 1);
    check_failpoint();
    for (int i = 1; i <= 3; ++i) std::cerr << injected(Failpoint::Loss).value_or(i) << "; ";
    std::_Exit(0);
  }
};

TEST_F(FailpointDeathTest, KillsAtTheTimeThatIsNamed) {
  EXPECT_EXIT(in_process("journal.after_sync:3:kill"), testing::KilledBySignal(SIGKILL),
              "^1 passed; 2 passed; $");
}

TEST_F(FailpointDeathTest, FailsOnceAsADiskDoes) {
  EXPECT_EXIT(in_process("journal.after_sync:2:error"), testing::ExitedWithCode(4),
              "1 passed; journal.after_sync: told to fail by SLUICE_FAIL");
}

TEST_F(FailpointDeathTest, MakesANumberOneThatIsNotFinite) {
  EXPECT_EXIT(numbers("learner.loss:2:nan"), testing::ExitedWithCode(0), "^1; nan; 3; $");
  EXPECT_EXIT(numbers("learner.loss:3:inf"), testing::ExitedWithCode(0), "^1; 2; inf; $");
  EXPECT_EXIT(numbers("learner.ratio:1:nan"), testing::ExitedWithCode(0), "^1; 2; 3; $");
  EXPECT_EXIT(numbers("learner.loss:2:kill"), testing::KilledBySignal(SIGKILL), "^1; $");
}

TEST_F(FailpointDeathTest, MeansOneRankAloneOrAllOfThem) {
  EXPECT_EXIT(as_rank(1, "ranks.sum@1:2:kill"), testing::KilledBySignal(SIGKILL), "^1 passed; $");
  EXPECT_EXIT(as_rank(0, "ranks.sum@1:2:kill"), testing::ExitedWithCode(0), "2 passed; $");
  EXPECT_EXIT(as_rank(0, "ranks.sum@0:1:kill"), testing::KilledBySignal(SIGKILL), "^$");
  EXPECT_EXIT(as_rank(3, "ranks.sum:1:kill"), testing::KilledBySignal(SIGKILL), "^$");
}

TEST_F(FailpointDeathTest, LeavesOtherPlacesAlone) {
  EXPECT_EXIT(in_process("spool.after_sync:1:kill"), testing::ExitedWithCode(0), "3 passed");
  EXPECT_EXIT(in_process(""), testing::ExitedWithCode(0), "3 passed");
}

TEST_F(FailpointDeathTest, RefusesWhatMakesNoSense) {
  EXPECT_EXIT(in_process("journal.after_sink:1:kill"), testing::ExitedWithCode(2),
              "did you mean \"journal.after_sync\"?");
  EXPECT_EXIT(in_process("journal.after_sync"), testing::ExitedWithCode(2), "it has no three parts");
  EXPECT_EXIT(in_process("journal.after_sync:0:kill"), testing::ExitedWithCode(2), "is no number from 1");
  EXPECT_EXIT(in_process("journal.after_sync:1:explode"), testing::ExitedWithCode(2), "no action explode");
  EXPECT_EXIT(in_process("journal.after_sync:1:nan"), testing::ExitedWithCode(2),
              "there is no number at journal.after_sync");
  EXPECT_EXIT(in_process("journal.after_sync@1:1:kill"), testing::ExitedWithCode(2),
              "there are no ranks at journal.after_sync");
  EXPECT_EXIT(in_process("ranks.sum@one:1:kill"), testing::ExitedWithCode(2), "\"one\" is no number from 0");
}

TEST(Failpoint, EachHasANameOfItsOwn) {
  std::set<std::string> names;
  for (const auto& info : failpoints()) names.insert(info.name);
  EXPECT_EQ(names.size(), failpoints().size());
}

}  // namespace
}  // namespace sluice
