#include "learner/advantages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "learner/token_advantages.h"
#include "rewards/reward_mix.h"
#include "tests/learner/number_checks.h"

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

std::vector<double> flat(const GroupNumbers& groups) {
  std::vector<double> all;
  for (const auto& group : groups) all.insert(all.end(), group.begin(), group.end());
  return all;
}

GroupRewards one_group(const std::vector<double>& rewards) {
  return {std::vector<std::optional<double>>(rewards.begin(), rewards.end())};
}

// The lengths of a batch, in the groups of its rewards.
GroupNumbers grouped_lengths(const Json& example) {
  GroupNumbers lengths;
  const auto groups = grouped(numbers(example, "inputs", "lengths"),
                              example["inputs"]["group_ids"].get<std::vector<int64_t>>());
  for (const auto& group : groups) {
    auto& row = lengths.emplace_back();
    for (const auto& length : group) row.push_back(*length);
  }
  return lengths;
}

TEST(Advantages, LeaveOneOutIsTheSpecifications) {
  const Json& plain = spec_example("adv_rloo");
  const AdvantageOptions options{.baseline = Baseline::LeaveOneOut};
  expect_near(flat(group_advantages(one_group(numbers(plain, "inputs", "rewards")), options)),
              numbers(plain, "expected", "advantages"));

  const Json& penalised = spec_example("adv_rloo_with_kl_penalty");
  auto rewards = numbers(penalised, "inputs", "rewards");
  const auto kl = numbers(penalised, "inputs", "sequence_kl_sum_k1");
  for (size_t i = 0; i < rewards.size(); ++i) rewards[i] = token_rewards({kl[i]}, rewards[i], 0.05).front();
  expect_near(rewards, numbers(penalised, "expected", "penalised_rewards"));
  expect_near(flat(group_advantages(one_group(rewards), options)),
              numbers(penalised, "expected", "advantages"));
  expect_near(flat(group_advantages(one_group(rewards), {.baseline = Baseline::LeaveOneOut,
                                                         .whitening = Whitening::Completions})),
              numbers(penalised, "expected", "advantages_normalised"));
}

// Spec section 21, item 4.
TEST(Advantages, LeaveOneOutIsTheCentredRewardTimesGOverGMinusOne) {
  const auto rewards = one_group({1.0, 0.25, -3.0, 0.5, 0.5});
  const auto centred = flat(group_advantages(rewards, {.scale = AdvantageScale::None}));
  auto expected = centred;
  for (double& value : expected) value *= 5.0 / 4.0;
  expect_near(flat(group_advantages(rewards, {.baseline = Baseline::LeaveOneOut})), expected);
}

TEST(Advantages, WithABaselineByLengthAreTheSpecifications) {
  const Json& example = spec_example("adv_opo");
  const auto rewards = grouped(numbers(example, "inputs", "rewards"),
                               example["inputs"]["group_ids"].get<std::vector<int64_t>>());
  expect_near(
      flat(group_advantages(rewards, {.baseline = Baseline::LengthWeighted}, grouped_lengths(example))),
      numbers(example, "expected", "advantages"));
  EXPECT_THROW(group_advantages(rewards, {.baseline = Baseline::LengthWeighted}), Error);
}

TEST(Advantages, WhitenedOverTokensAreTheSpecifications) {
  const Json& example = spec_example("adv_reinforce_pp_baseline");
  const auto rewards = grouped(numbers(example, "inputs", "rewards"),
                               example["inputs"]["group_ids"].get<std::vector<int64_t>>());
  expect_near(flat(group_advantages(rewards, {.scale = AdvantageScale::None})),
              numbers(example, "expected", "centred"));
  expect_near(flat(group_advantages(rewards, {.scale = AdvantageScale::None, .whitening = Whitening::Tokens},
                                    grouped_lengths(example))),
              numbers(example, "expected", "advantages_per_sequence"));
}

TEST(Advantages, OfEachRewardAreTheSpecifications) {
  const Json& example = spec_example("adv_gdpo_multi_reward");
  const auto ids = example["inputs"]["group_ids"].get<std::vector<int64_t>>();
  std::vector<GroupRewards> scores;
  for (size_t k = 0; k < 2; ++k) {
    std::vector<double> of_scorer;
    for (const Json& row : example["inputs"]["rewards_per_function"])
      of_scorer.push_back(row[k].get<double>());
    scores.push_back(grouped(of_scorer, ids));
  }
  expect_near(flat(each_reward_advantages(scores, numbers(example, "inputs", "weights"))),
              numbers(example, "expected", "advantages"));
}

TEST(Advantages, OfEachRewardLeaveOutWhatHasNoScoreAtAll) {
  const GroupRewards first = {{1.0, 0.0, std::nullopt, std::nullopt}},
                     second = {{0.5, std::nullopt, 0.25, std::nullopt}};
  const auto advantages = each_reward_advantages({first, second}, {1.0, 1.0});
  EXPECT_EQ(advantages[0][3], 0.0);
  EXPECT_GT(advantages[0][0], 0.0);
  EXPECT_LT(advantages[0][1], 0.0);
}

TEST(Advantages, WithoutABaselineAreTheRewardsAndClippedWhereAsked) {
  expect_near(flat(group_advantages(one_group({2.0, -0.5, 0.25}), {.baseline = Baseline::None, .clip = 1.0})),
              {1.0, -0.5, 0.25});
}

TEST(Advantages, AgainstAGreedyCompletionAreTheSpecifications) {
  const Json& example = spec_example("adv_remax");
  GroupRewards rewards;
  for (const double reward : numbers(example, "inputs", "rewards")) rewards.push_back({reward});
  const auto advantages = baseline_advantages(rewards, numbers(example, "inputs", "greedy_rewards"));
  expect_near(flat(advantages), numbers(example, "expected", "advantages"));
  EXPECT_THROW(baseline_advantages(rewards, {0.5}), Error);
}

TEST(Spread, IsWhatDynamicSamplingKeepsInTheSpecification) {
  const Json& example = spec_example("dynamic_sampling_filter");
  std::vector<bool> keep;
  for (const Json& metric : example["inputs"]["group_metric"]) {
    const auto values = metric.get<std::vector<double>>();
    keep.push_back(has_spread(one_group(values).front()));
  }
  EXPECT_EQ(keep, example["expected"]["keep"].get<std::vector<bool>>());
  const auto wanted = example["hyperparameters"]["groups_wanted"].get<int64_t>();
  EXPECT_EQ(wanted - std::ranges::count(keep, true),
            example["expected"]["groups_still_missing"].get<int64_t>());
  EXPECT_TRUE(has_spread({1.0}));  // a group of one is kept
  EXPECT_FALSE(has_spread({std::nullopt, 1.0, std::nullopt}));
}

}  // namespace
}  // namespace sluice::learner
