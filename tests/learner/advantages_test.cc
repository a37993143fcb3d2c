#include "learner/advantages.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "rewards/reward_mix.h"
#include "tests/spec_example.h"

namespace sluice::learner {
namespace {

using Rewards = std::vector<std::vector<std::optional<double>>>;

Rewards grouped(const std::vector<double>& rewards, const std::vector<int64_t>& group_ids) {
  std::map<int64_t, std::vector<std::optional<double>>> groups;
  for (size_t i = 0; i < rewards.size(); ++i) groups[group_ids[i]].push_back(rewards[i]);
  Rewards out;
  for (auto& [id, group] : groups) out.push_back(group);
  return out;
}

void expect_example(const std::string& name, const AdvantageOptions& options) {
  const Json& example = spec_example(name);
  const auto advantages =
      group_advantages(grouped(example["inputs"]["rewards"].get<std::vector<double>>(),
                               example["inputs"]["group_ids"].get<std::vector<int64_t>>()),
                       options);
  std::vector<double> flat;
  for (const auto& group : advantages) flat.insert(flat.end(), group.begin(), group.end());
  const auto expected = example["expected"]["advantages"].get<std::vector<double>>();
  ASSERT_EQ(flat.size(), expected.size());
  for (size_t i = 0; i < flat.size(); ++i) EXPECT_NEAR(flat[i], expected[i], 1e-9) << name << " at " << i;
}

TEST(Advantages, AreThoseOfTheSpecification) {
  expect_example("adv_grpo_sample_std_eps1e-4", {});
  expect_example("adv_grpo_sample_std_eps1e-6", {.eps = 1e-6});
  expect_example("adv_grpo_population_std", {.population_std = true, .eps = 1e-8});
  expect_example("adv_batch_std", {.scale = AdvantageScale::Batch});
  expect_example("adv_dr_grpo", {.scale = AdvantageScale::None});
  expect_example("adv_group_of_one", {});
}

TEST(Advantages, LeaveOutWhatHasNoRewardAsTheSpecificationAssemblesIt) {
  const Json& example = spec_example("reward_assembly");
  const auto weights = example["inputs"]["weights"].get<std::vector<double>>();
  std::vector<std::optional<double>> rewards;
  for (const Json& row : example["inputs"]["rewards_per_function"]) {
    std::vector<rewards::RewardOutcome> outcomes;
    for (const Json& value : row) {
      outcomes.push_back(value.is_null() ? rewards::RewardOutcome::unscored("does not apply")
                                         : rewards::RewardOutcome::scored(value.get<double>()));
    }
    rewards.push_back(rewards::total_reward(outcomes, weights));
  }

  const auto advantages = group_advantages({rewards}, {.scale = AdvantageScale::None});

  EXPECT_FALSE(rewards[3].has_value());
  for (size_t i = 0; i < 3; ++i)
    EXPECT_NEAR(*rewards[i], example["expected"]["rewards"][i].get<double>(), 1e-12);
  const auto expected = example["expected"]["advantages"].get<std::vector<double>>();
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(advantages[0][i], expected[i], 1e-12);
}

TEST(Advantages, CountOnlyScoredCompletionsInMeanAndSpread) {
  // Of 1 and 0: mean 0.5, std sqrt(0.5); (1 - 0.5) / sqrt(0.5) = sqrt(0.5).
  const auto advantages = group_advantages({{1.0, std::nullopt, 0.0}}, {.eps = 0.0});
  EXPECT_NEAR(advantages[0][0], std::sqrt(0.5), 1e-12);
  EXPECT_EQ(advantages[0][1], 0.0);
  EXPECT_NEAR(advantages[0][2], -std::sqrt(0.5), 1e-12);
}

TEST(Advantages, AreExactZerosWhereRewardsAreEqualWhateverRoundingDoes) {
  for (const auto scale : {AdvantageScale::Group, AdvantageScale::Batch, AdvantageScale::None}) {
    const auto advantages =
        group_advantages({{0.1, 0.1, 0.1}, {0.7}, {std::nullopt}, {1.0, 0.0}}, {.scale = scale, .eps = 1e-6});
    EXPECT_EQ(advantages[0], (std::vector<double>{0.0, 0.0, 0.0}));
    EXPECT_EQ(advantages[1], (std::vector<double>{0.0}));
    EXPECT_EQ(advantages[2], (std::vector<double>{0.0}));
    EXPECT_GT(advantages[3][0], 0.0);
  }
}

TEST(Advantages, RefuseARewardThatIsNotFinite) {
  EXPECT_THROW(group_advantages({{std::numeric_limits<double>::infinity(), 0.0}}), DataError);
  EXPECT_THROW(group_advantages({{std::numeric_limits<double>::quiet_NaN(), 0.0}}), DataError);
}

}  // namespace
}  // namespace sluice::learner
