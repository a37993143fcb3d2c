#include "rewards/reward_guide.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "rewards/sandbox.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

const std::vector<std::string> kPlugins = {"python", "command", "library", "http", "judge"};

TEST(RewardGuide, IsThereForEveryBuiltInScorerAndNamesItsOptions) {
  std::vector<std::string> names;
  for (const auto& entry : reward_entries()) {
    if (std::ranges::count(kPlugins, entry.name) > 0) continue;
    const auto guide = std::ranges::find(reward_guides(), entry.name, &RewardGuide::name);
    ASSERT_NE(guide, reward_guides().end()) << entry.name << " has no guide in rewards/reward_guide.cc";
    std::vector<std::string> keys;
    for (const auto& option : guide->options) keys.push_back(option.key);
    EXPECT_THAT(keys, testing::UnorderedElementsAreArray(entry.options)) << entry.name;
    names.push_back(entry.name);
  }
  EXPECT_EQ(names.size(), reward_guides().size());
}

TEST(RewardGuide, EveryCaseScoresAsItSays) {
  for (const auto& guide : reward_guides()) {
    if (guide.name == "code_tests" && sandbox_support().level < SandboxLevel::Namespaces) continue;
    for (const auto& one : guide.cases) {
      const auto reward =
          make_reward(spec(guide.name, one.options.dump()), {.training_text = guide.training_text});
      Case from;
      from.row.columns = one.columns;
      from.tokens.assign(static_cast<size_t>(one.tokens), 5);
      const auto outcome = score(*reward, from, one.completion);
      ASSERT_EQ(outcome.score.has_value(), one.score.has_value())
          << guide.name << ": " << one.completion << ": " << outcome.unscored_reason;
      EXPECT_NEAR(outcome.score.value_or(0), one.score.value_or(0), 1e-6)
          << guide.name << ": " << one.completion;
    }
  }
}

TEST(RewardGuide, IsLaidOutForATerminal) {
  const RewardGuide guide{.name = "same",
                          .recipe = R"({ use = "same" })",
                          .options = {{"column", "", "where the answer is"}},
                          .cases = {{"a\nb", 1, "", {{"answer", "a"}}}, {"é", std::nullopt, "no row"}}};
  EXPECT_EQ(to_markdown(guide, "1 for the same."), R"(### same

1 for the same.

    rewards = [{ use = "same" }]

    option  meaning
    column  where the answer is

    completion  row           score     because
    a\nb        answer = 'a'  1
    é                         unscored  no row
)");
}

}  // namespace
}  // namespace sluice::rewards
