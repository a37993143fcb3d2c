#include "sft/reward_loss.h"

#include <algorithm>

#include "tests/loss_checks.h"
#include "tests/spec_example.h"

namespace sluice::sft {
namespace {

std::vector<double> list(const Json& json) { return json.get<std::vector<double>>(); }

const Json& margins_spec() { return spec_example("reward_model_pairwise_margin_center"); }
constexpr RewardLossOptions kCentred{.center_coefficient = 0.01};

RewardLossInputs inputs_of(const Json& example, at::ScalarType type = at::kDouble) {
  const Json& numbers = example.at("inputs");
  RewardLossInputs in{.chosen = trained(list(numbers.at("chosen")), type),
                      .rejected = trained(list(numbers.at("rejected")), type)};
  if (numbers.contains("margin")) in.margin = constant(list(numbers["margin"])).to(type);
  return in;
}

TEST(RewardLoss, GivesTheValuesAndGradientsOfTheSpecification) {
  for (const char* name : {"reward_model_pairwise_plain", "reward_model_pairwise_margin_center"}) {
    for (const auto type : {at::kDouble, at::kFloat}) {
      SCOPED_TRACE(name);
      const Tolerance tolerance = type == at::kFloat ? kFloat32 : Tolerance{};
      const Json& example = spec_example(name);
      const Json& expected = example.at("expected");
      const auto in = inputs_of(example, type);
      const auto loss =
          reward_loss(in, 3,
                      {.center_coefficient = example["hyperparameters"].value("center_coefficient", 0.0)})
              .loss;
      loss.backward();
      expect_near(loss.item<double>(), expected["loss"].get<double>(), tolerance);
      expect_near(in.chosen.grad(), list(expected["grad_chosen"]), tolerance);
      expect_near(in.rejected.grad(), list(expected["grad_rejected"]), tolerance);
    }
  }
}

TEST(RewardLoss, MeasuresWhatTheSpecificationMeasures) {
  const auto sums = reward_loss(inputs_of(margins_spec()), 3).sums;
  const Json& expected = margins_spec().at("expected");
  EXPECT_EQ(sums.pairs, 3);
  expect_near(sums.correct / 3, expected["accuracy"].get<double>());
  expect_near(sums.margin / 3, expected["mean_margin"].get<double>());
  expect_near(sums.rewards / 6, 0.8 / 6);  // 1.2 + 0.3 - 0.5 + 0.4 + 0.9 - 1.5
  expect_near(sums.squares, 5.0);          // 1.44 + 0.09 + 0.25 + 0.16 + 0.81 + 2.25
  EXPECT_EQ(sums.min_reward, -1.5);
  EXPECT_EQ(sums.max_reward, 1.2);
}

TEST(RankingLoss, GivesTheValuesAndGradientsOfTheSpecification) {
  const Json& example = spec_example("reward_model_ranking_k");
  for (const auto type : {at::kDouble, at::kFloat}) {
    const Tolerance tolerance = type == at::kFloat ? kFloat32 : Tolerance{};
    const auto rewards = trained(list(example["inputs"]["scores_best_to_worst"]), type);
    const auto result = ranking_loss(rewards, {3}, 1);
    result.loss.backward();
    expect_near(result.loss.item<double>(), example["expected"]["loss"].get<double>(), tolerance);
    expect_near(rewards.grad(), list(example["expected"]["grad_scores"]), tolerance);
    EXPECT_EQ(result.sums.pairs, 3);
    EXPECT_EQ(result.sums.correct, 3.0);
  }
}

TEST(RankingLoss, OfTwoIsThatOfAPair) {
  const auto ranked = ranking_loss(constant({1.2, 0.4, 0.3, 0.9, -0.5, -1.5}), {2, 2, 2}, 3);
  const auto expected = spec_example("reward_model_pairwise_plain").at("expected").at("loss");
  expect_near(ranked.loss.item<double>(), expected.get<double>());
  expect_near(ranked.sums.correct, 2.0);
}

TEST(RewardLoss, IsTheSameCutIntoMicroBatches) {
  const auto whole = inputs_of(margins_spec()), cut = inputs_of(margins_spec());
  const auto loss = reward_loss(whole, 3, kCentred).loss;
  loss.backward();
  const auto part = [&](int64_t first, int64_t count) {
    return reward_loss({.chosen = cut.chosen.narrow(0, first, count),
                        .rejected = cut.rejected.narrow(0, first, count),
                        .margin = cut.margin.narrow(0, first, count)},
                       3, kCentred);
  };
  const auto first = part(0, 1), second = part(1, 2);
  (first.loss + second.loss).backward();
  expect_near((first.loss + second.loss).item<double>(), loss.item<double>());
  EXPECT_TRUE(at::allclose(cut.chosen.grad(), whole.chosen.grad(), 1e-12, 0.0));
  EXPECT_TRUE(at::allclose(cut.rejected.grad(), whole.rejected.grad(), 1e-12, 0.0));
  EXPECT_EQ(std::min(first.sums.min_reward, second.sums.min_reward), -1.5);
}

TEST(RankingLoss, IsTheSameCutIntoMicroBatches) {
  const auto rewards = trained({0.9, 0.5, -0.2, 0.3, 0.4});
  const auto whole = ranking_loss(rewards, {3, 2}, 2).loss;
  const auto first = ranking_loss(rewards.narrow(0, 0, 3), {3}, 2).loss;
  const auto second = ranking_loss(rewards.narrow(0, 3, 2), {2}, 2).loss;
  expect_near((first + second).item<double>(), whole.item<double>());
}

TEST(RewardLoss, HasTheGradientOfCentralDifferences) {
  const auto margin = constant({0.0, 1.0 / 3.0, 1.0});
  expect_gradient(
      [&](const at::Tensor& values) {
        return reward_loss({values.narrow(0, 0, 3), values.narrow(0, 3, 3), margin}, 3, kCentred).loss;
      },
      {1.2, 0.3, -0.5, 0.4, 0.9, -1.5});
  expect_gradient(
      [](const at::Tensor& values) {
        return ranking_loss(values, {3, 2}, 2).loss;
      },
      {0.9, 0.5, -0.2, 0.3, 0.4});
}

TEST(RewardLoss, StaysFiniteForExtremeRewards) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    const RewardLossInputs in{.chosen = trained({1e3, -1e3}, type), .rejected = trained({-1e3, 1e3}, type)};
    const auto loss = reward_loss(in, 2, kCentred).loss;
    loss.backward();
    expect_near(loss.item<double>(), 1000.0);  // 0 and 2000
    expect_finite(in.chosen.grad());
  }
}

TEST(RewardLoss, LeavesTheMarginWithoutAGradient) {
  auto in = inputs_of(margins_spec());
  in.margin.requires_grad_();
  reward_loss(in, 3).loss.backward();
  EXPECT_FALSE(in.margin.grad().defined());
}

TEST(RewardLoss, OfNoPairIsAZeroThatBackwardCanRunThrough) {
  const auto chosen = trained({}), rejected = trained({}), rewards = trained({});
  const auto result = reward_loss({.chosen = chosen, .rejected = rejected}, 3, kCentred);
  const auto ranked = ranking_loss(rewards, {}, 3);
  (result.loss + ranked.loss).backward();
  EXPECT_EQ(result.loss.item<double>(), 0.0);
  EXPECT_EQ(ranked.loss.item<double>(), 0.0);
  EXPECT_EQ(chosen.grad().numel() + rewards.grad().numel(), 0);
}

TEST(RewardLoss, RefusesWhatDoesNotFit) {
  const auto two = constant({1, 2}), three = constant({1, 2, 3});
  expect_refused([&] { reward_loss({two, three, {}}, 3); }, "chosen is [2], rejected is [3]");
  expect_refused([&] { reward_loss({two, two, three}, 3); }, "margin is [3], chosen is [2]");
  expect_refused([&] { reward_loss({two, two, {}}, 1); }, "2 pairs of a step of 1");
  expect_refused(
      [&] {
        reward_loss({two, two, {}}, 2, {.center_coefficient = -1.0});
      },
      "center_coefficient is -1");
  expect_refused([&] { ranking_loss(three, {2}, 1); }, "rewards is [3], the prompts have 2");
  expect_refused([&] { ranking_loss(three, {2, 1}, 2); }, "a prompt with 1 ranked completions");
  expect_refused([&] { ranking_loss(three, {3}, 0); }, "1 prompts of a step of 0");
}

}  // namespace
}  // namespace sluice::sft
