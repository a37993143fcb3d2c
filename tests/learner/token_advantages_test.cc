#include "learner/token_advantages.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "tests/learner/number_checks.h"

namespace sluice::learner {
namespace {

TEST(TokenRewards, ArePenaltiesWithTheRewardOnTheLast) {
  const Json& example = spec_example("reward_kl_in_token_reward");
  expect_near(token_rewards(numbers(example, "inputs", "k1"), 0.8, 0.05),
              numbers(example, "expected", "token_rewards"));
  EXPECT_TRUE(token_rewards({}, 0.8, 0.05).empty());
}

TEST(TokenRewards, BecomeTheReturnsOfReinforcePlusPlus) {
  const Json& example = spec_example("adv_reinforce_pp");
  const auto rewards = numbers(example, "inputs", "sequence_rewards");
  GroupNumbers returns;
  for (size_t i = 0; i < rewards.size(); ++i) {
    auto kl = example["inputs"]["k1_tokens"][i].get<std::vector<double>>();
    kl.resize(i == 0 ? 4 : 2);
    auto expected = example["expected"]["token_rewards"][i].get<std::vector<double>>();
    expected.resize(kl.size());
    expect_near(token_rewards(kl, rewards[i], 0.1), expected);
    returns.push_back(returns_to_go(token_rewards(kl, rewards[i], 0.1), 0.9));
    expected = example["expected"]["returns"][i].get<std::vector<double>>();
    expected.resize(kl.size());
    expect_near(returns.back(), expected);
  }
  for (const bool population : {false, true}) {
    auto whitened = returns;
    whiten(whitened, population);
    const char* key = population ? "advantages_population_var" : "advantages_sample_var";
    for (size_t i = 0; i < whitened.size(); ++i) {
      auto expected = example["expected"][key][i].get<std::vector<double>>();
      expected.resize(whitened[i].size());
      expect_near(whitened[i], expected);
    }
  }
}

TEST(Gae, JumpsOverTokensThatThePolicyDidNotChoose) {
  const Json& example = spec_example("adv_gae");
  const auto chosen = [&](const char* part, const char* key, size_t row) {
    std::vector<double> values;
    for (size_t t = 0; t < 6; ++t) {
      if (example["inputs"]["mask"][row][t] == 1) values.push_back(example[part][key][row][t].get<double>());
    }
    return values;
  };
  GroupNumbers advantages;
  for (size_t row = 0; row < 2; ++row) {
    const auto result = gae(chosen("inputs", "token_rewards", row), chosen("inputs", "values", row), 0.0,
                            {.gamma = 0.99, .lambda = 0.95});
    expect_near(result.advantages, chosen("expected", "advantages_raw", row));
    expect_near(result.returns, chosen("expected", "returns", row));
    advantages.push_back(result.advantages);
  }
  whiten(advantages);
  for (size_t row = 0; row < 2; ++row)
    expect_near(advantages[row], chosen("expected", "advantages_whitened", row));
}

TEST(Gae, GoesOnFromTheValueBehindATruncatedCompletion) {
  const Json& example = spec_example("adv_gae_bootstrap_truncated");
  const auto result = gae(numbers(example, "inputs", "token_rewards"), numbers(example, "inputs", "values"),
                          0.8, {.gamma = 0.99, .lambda = 0.95});
  expect_near(result.advantages, numbers(example, "expected", "advantages_raw"));
  expect_near(result.returns, numbers(example, "expected", "returns"));
}

// PPO with gamma = lambda = 1 and no value is REINFORCE.
TEST(Gae, WithoutValuesIsTheRewardOfTheCompletion) {
  expect_near(gae({0, 0, 0.7}, {0, 0, 0}, 0, {.gamma = 1, .lambda = 1}).advantages, {0.7, 0.7, 0.7});
}

// Two completions of two tokens, KL 0.1 each at a beta of 0.5, and one without a score; gamma = lambda = 1:
// the advantage is the return less the value.
TEST(CriticAdvantages, AreReturnsLessValuesAndTheCriticLearnsTheReturns) {
  const TokenNumbers kl = {{{0.1, 0.1}, {0.1, 0.1}, {0.1}}}, values = {{{0.5, 0.25}, {0.0, 0.0}, {9.0}}};
  const auto of = critic_advantages({{1.0, 0.0, std::nullopt}}, kl, values, {{0, 0, 0}}, 0.5,
                                    {.gamma = 1, .lambda = 1}, {.baseline = Baseline::Critic});
  expect_near(of.returns[0][0], {0.9, 0.95});
  expect_near(of.advantages[0][0], {0.4, 0.7});
  expect_near(of.advantages[0][1], {-0.1, -0.05});
  expect_near(of.advantages[0][2], {0.0});
  EXPECT_TRUE(std::isnan(of.returns[0][2][0]));
}

// (1, 0) over three tokens: mean 1/3, deviation sqrt(1/3). The critic's returns stay as they were.
TEST(CriticAdvantages, AreWhitenedOverTheTokensOfScoredCompletionsAlone) {
  const TokenNumbers kl = {{{0.0}, {0.0, 0.0}, {0.0, 0.0, 0.0}}};
  const auto of =
      critic_advantages({{1.0, 0.0, std::nullopt}}, kl, kl, {{0, 0, 0}}, 0.0, {.gamma = 1, .lambda = 1},
                        {.baseline = Baseline::Critic, .whitening = Whitening::Tokens});
  EXPECT_NEAR(of.advantages[0][0][0], (2.0 / 3.0) / std::sqrt(1.0 / 3.0), 1e-6);
  EXPECT_NEAR(of.advantages[0][1][1], (-1.0 / 3.0) / std::sqrt(1.0 / 3.0), 1e-6);
  expect_near(of.advantages[0][2], {0.0, 0.0, 0.0});
  expect_near(of.returns[0][0], {1.0});
}

TEST(Whiten, OnlyCentresASingleToken) {
  GroupNumbers one = {{3.0}};
  whiten(one);
  EXPECT_EQ(one[0][0], 0.0);
}

}  // namespace
}  // namespace sluice::learner
