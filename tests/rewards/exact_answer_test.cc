#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

Case row_with(const std::string& columns) {
  Case out;
  out.row.columns = Json::parse(columns);
  out.row.file = "train.jsonl";
  out.row.line = 12;
  return out;
}

TEST(ExactAnswer, ComparesWithTheColumnWhiteSpaceAside) {
  const auto reward = make_reward(spec("exact_answer"), {});
  const auto row = row_with(R"({"answer": " 24\n"})");

  EXPECT_EQ(score(*reward, row, "24").score, 1.0);
  EXPECT_EQ(score(*reward, row, "\t24 \n").score, 1.0);
  EXPECT_EQ(score(*reward, row, "240").score, 0.0);
  EXPECT_EQ(score(*reward, row, "2 4").score, 0.0);
  EXPECT_EQ(score(*reward, row, "").score, 0.0);
}

TEST(ExactAnswer, ReadsNumbersAndTruthValuesAsTheirText) {
  const auto reward = make_reward(spec("exact_answer", R"({"column": "result"})"), {});

  EXPECT_EQ(score(*reward, row_with(R"({"result": 24})"), "24").score, 1.0);
  EXPECT_EQ(score(*reward, row_with(R"({"result": -0.5})"), "-0.5").score, 1.0);
  EXPECT_EQ(score(*reward, row_with(R"({"result": true})"), "true").score, 1.0);
  EXPECT_EQ(score(*reward, row_with(R"({"result": 24})"), "25").score, 0.0);
}

TEST(ExactAnswer, IgnoresCaseOnlyWhenAsked) {
  const auto row = row_with(R"({"answer": "Paris"})");

  EXPECT_EQ(score(*make_reward(spec("exact_answer"), {}), row, "paris").score, 0.0);
  EXPECT_EQ(score(*make_reward(spec("exact_answer", R"({"ignore_case": true})"), {}), row, "pARIS").score,
            1.0);
}

TEST(ExactAnswer, LeavesARowWithoutAUsableColumnUnscoredAndSaysWhichRow) {
  const auto reward = make_reward(spec("exact_answer"), {});

  const auto missing = score(*reward, row_with(R"({"solution": "24"})"), "24");
  EXPECT_FALSE(missing.score);
  EXPECT_THAT(missing.unscored_reason, testing::HasSubstr("column \"answer\" is missing at "));
  EXPECT_THAT(missing.unscored_reason, testing::HasSubstr("train.jsonl"));
  EXPECT_THAT(score(*reward, row_with(R"({"answer": ["24"]})"), "24").unscored_reason,
              testing::HasSubstr("is of type array"));
  EXPECT_THAT(score(*reward, row_with(R"({"answer": " "})"), "").unscored_reason,
              testing::HasSubstr("is empty"));
}

}  // namespace
}  // namespace sluice::rewards
