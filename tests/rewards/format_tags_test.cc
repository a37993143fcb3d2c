#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

using Parts = std::map<std::string, double>;

TEST(FormatTags, GivesOneWhenEveryTagStandsOnceClosedAndInOrder) {
  const auto reward = make_reward(spec("format_tags"), {});

  const auto outcome = score(*reward, {}, "<think>6*4</think> so <answer>24</answer>\n");
  EXPECT_EQ(outcome.score, 1.0);
  EXPECT_EQ(outcome.parts, (Parts{{"think", 1}, {"answer", 1}}));
}

TEST(FormatTags, GivesTheShareOfTheTagsThatStandRight) {
  const auto reward = make_reward(spec("format_tags"), {});
  const auto parts = [&](const std::string& text) { return score(*reward, {}, text).parts; };

  EXPECT_EQ(score(*reward, {}, "<answer>24</answer>").score, 0.5);
  EXPECT_EQ(parts("<think>a</think><answer>24"), (Parts{{"think", 1}, {"answer", 0}}));  // open
  EXPECT_EQ(parts("<think>a</think><think>b</think><answer>1</answer>"),
            (Parts{{"think", 0}, {"answer", 1}}));
  EXPECT_EQ(parts("</think><think><answer>1</answer>"), (Parts{{"think", 0}, {"answer", 1}}));   // backwards
  EXPECT_EQ(parts("<answer>1</answer><think>a</think>"), (Parts{{"think", 1}, {"answer", 0}}));  // order
  EXPECT_EQ(parts("<think><answer>1</answer></think>"), (Parts{{"think", 1}, {"answer", 0}}));   // nested
  EXPECT_EQ(score(*reward, {}, "").score, 0.0);
}

TEST(FormatTags, TakesItsTagsFromTheRecipe) {
  const auto reward = make_reward(spec("format_tags", R"({"tags": ["plan", "code", "test-1"]})"), {});

  EXPECT_DOUBLE_EQ(*score(*reward, {}, "<plan></plan><test-1></test-1>").score, 2.0 / 3.0);
}

TEST(FormatTags, RefusesTagsThatCannotStandInText) {
  for (const char* tags :
       {"[]", R"(["a", "a"])", R"(["a b"])", R"([""])", R"(["<a>"])", R"("think")", "[1]"}) {
    EXPECT_THROW(make_reward(spec("format_tags", std::string(R"({"tags": )") + tags + "}"), {}), UsageError)
        << tags;
  }
}

}  // namespace
}  // namespace sluice::rewards
