#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

double score_of(const std::string& completion, const std::string& options = "{}") {
  return *score(*make_reward(spec("tag_count", options), {}), {}, completion).score;
}

TEST(TagCount, KeepsToItsTableOfCases) {
  EXPECT_EQ(score_of("<think>a</think><answer>b</answer>"), 1.0);
  EXPECT_EQ(score_of("<think>a</think> b"), 0.5);
  EXPECT_EQ(score_of("</answer><answer></think><think>"), 1.0);
  EXPECT_EQ(score_of("<think><think>a</think><answer>b"), 0.5);
  EXPECT_EQ(score_of(""), 0.0);
  EXPECT_EQ(score_of("<THINK>a</THINK>"), 0.0);
  EXPECT_EQ(score_of("<r>a</r>", R"({"tags": ["r"]})"), 1.0);
}

TEST(TagCount, SaysWhichMarksStand) {
  const auto outcome = score(*make_reward(spec("tag_count", R"({"tags": ["a"]})"), {}), {}, "<a>");
  EXPECT_EQ(outcome.parts, (std::map<std::string, double>{{"<a>", 1.0}, {"</a>", 0.0}}));
}

TEST(TagCount, RefusesTagsThatAreNone) {
  for (const char* bad : {R"({"tags": []})", R"({"tags": ["<a>"]})", R"({"tags": ["a", "a"]})"}) {
    EXPECT_THROW(make_reward(spec("tag_count", bad), {}), UsageError) << bad;
  }
}

}  // namespace
}  // namespace sluice::rewards
