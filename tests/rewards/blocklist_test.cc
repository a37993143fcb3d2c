#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

TEST(Blocklist, KeepsToItsTableOfCases) {
  const auto reward = make_reward(spec("blocklist", R"({"words": ["damn", "as an AI"]})"), {});
  EXPECT_EQ(score(*reward, {}, "What a day.").score, 1.0);
  EXPECT_EQ(score(*reward, {}, "Damn, what a day.").score, 0.0);
  EXPECT_EQ(score(*reward, {}, "Goddamned").score, 1.0);
  EXPECT_EQ(score(*reward, {}, "As an AI, I cannot. Damn.").score, 0.0);
  EXPECT_EQ(score(*reward, {}, "As an AI, I cannot. Damn.").parts.at("found"), 2.0);
  EXPECT_EQ(score(*reward, {}, "").score, 1.0);
}

TEST(Blocklist, NeedsWords) { EXPECT_THROW(make_reward(spec("blocklist"), {}), UsageError); }

}  // namespace
}  // namespace sluice::rewards
