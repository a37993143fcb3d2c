#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

double score_of(const std::string& completion, const Json& gold, const std::string& options = "{}") {
  Case from;
  from.row.columns = {{"answer", gold}};
  return *score(*make_reward(spec("numeric_answer", options), {}), from, completion).score;
}

TEST(NumericAnswer, KeepsToItsTableOfCases) {
  EXPECT_EQ(score_of("The answer is 3.1416.", 3.14159, R"({"tolerance": 1e-4})"), 1.0);
  EXPECT_EQ(score_of("The answer is 3.1416.", 3.14159), 0.0);
  EXPECT_EQ(score_of("#### 1,234.50", 1234.5), 1.0);
  EXPECT_EQ(score_of("\\boxed{\\frac{1}{3}}", 0.33333333), 1.0);
  EXPECT_EQ(score_of("She pays $5 and he pays $18.", 18), 1.0);
  EXPECT_EQ(score_of("<answer>18 apples</answer>", 18), 1.0);
  EXPECT_EQ(score_of("Answer: 2.5 million", 2500000), 1.0);
  EXPECT_EQ(score_of("<answer>17 or 18</answer>", 18), 0.0);
}

TEST(NumericAnswer, TakesTheLastNumberWhereNothingIsMarked) {
  EXPECT_EQ(score_of("3/4", 0.75), 1.0);  // all of it is one
  EXPECT_EQ(score_of("-7", -7), 1.0);
  EXPECT_EQ(score_of("It falls to -7 degrees", -7), 1.0);
  EXPECT_EQ(score_of("He owes -$7", -7), 1.0);
  EXPECT_EQ(score_of("10-3 is 7, then 5", 5), 1.0);
  EXPECT_EQ(score_of("pages 3-7", 7), 1.0);
  EXPECT_EQ(score_of("1,234,567 people", 1234567), 1.0);
  EXPECT_EQ(score_of("version 0.5.", 0.5), 1.0);
  EXPECT_EQ(score_of("about .5", 0.5), 1.0);
  EXPECT_EQ(score_of("18, not 17", 18), 0.0);
  EXPECT_EQ(score_of("no number", 18), 0.0);
  EXPECT_EQ(score_of("", 18), 0.0);
}

TEST(NumericAnswer, AllowsAsMuchAsItIsTold) {
  EXPECT_EQ(score_of("99", 100, R"({"tolerance": 0.01})"), 1.0);
  EXPECT_EQ(score_of("98.9", 100, R"({"tolerance": 0.01})"), 0.0);
  EXPECT_EQ(score_of("0.001", 0, R"({"absolute": 0.001})"), 1.0);
  EXPECT_EQ(score_of("0.0011", 0, R"({"absolute": 0.001})"), 0.0);
  EXPECT_EQ(score_of("100.0000001", 100, R"({"tolerance": 0})"), 0.0);
  EXPECT_EQ(score_of("\\frac{200}{2}", 100, R"({"tolerance": 0})"), 1.0);
  for (const char* bad :
       {R"({"tolerance": -1})", R"({"tolerance": 1})", R"({"absolute": -0.1})", R"({"tolerance": "1"})"}) {
    EXPECT_THROW(make_reward(spec("numeric_answer", bad), {}), UsageError) << bad;
  }
}

TEST(NumericAnswer, LeavesARowWithoutANumberUnscored) {
  for (const char* gold : {"many", "1, 2", "x", "(1,2)", "x > 5", "1/0"}) {
    Case from;
    from.row.columns = {{"answer", gold}};
    EXPECT_THAT(score(*make_reward(spec("numeric_answer"), {}), from, "5").unscored_reason,
                testing::HasSubstr("column \"answer\" is no number at "))
        << gold;
  }
}

}  // namespace
}  // namespace sluice::rewards
