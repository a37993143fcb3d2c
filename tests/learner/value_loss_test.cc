#include "learner/value_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/learner/packed_example.h"
#include "tests/loss_checks.h"

namespace sluice::learner {
namespace {

TEST(ValueLoss, IsTheSpecificationsWithItsGradient) {
  const Json& example = spec_example("value_loss_clipped");
  const auto input = [&](const char* key) { return example["inputs"][key].get<std::vector<double>>(); };
  const auto values = trained(input("values"));
  const ValueLossInputs in{.values = values,
                           .old_values = constant(input("old_values")),
                           .returns = constant(input("returns")),
                           .weights = aggregation_weights(Aggregation::TokenMean, {4}, {.tokens = 4})};
  const auto result = value_loss(in, 0.2);
  result.loss.backward();
  EXPECT_NEAR(result.loss.item<double>(), example["expected"]["loss"].get<double>(), 1e-12);
  expect_near(values.grad(), example["expected"]["grad_values"].get<std::vector<double>>());
  EXPECT_EQ(result.clipped / 4, example["expected"]["clipfrac"].get<double>());
  EXPECT_NEAR(explained_variance(in.returns, in.old_values),
              example["expected"]["explained_variance"].get<double>(), 1e-9);
}

// Two values past the clip, one of which is nearer to its return for it.
TEST(ValueLoss, HasTheGradientOfCentralDifferences) {
  expect_gradient(
      [](const at::Tensor& values) {
        return value_loss({.values = values,
                           .old_values = constant({0.5, 0.1, 0.9, -0.3}),
                           .returns = constant({1.0, 0.4, 0.2, 0.3}),
                           .weights = constant({0.5, 0.25, 0.25, 1.0})},
                          0.2)
            .loss;
      },
      {0.55, 0.6, 0.4, -0.9});
}

TEST(ValueLoss, LeavesConstantsWithoutGradients) {
  const auto values = trained({0.55, 0.6}), old_values = trained({0.5, 0.1}), returns = trained({1.0, 0.4}),
             weights = trained({0.5, 0.25});
  value_loss({values, old_values, returns, weights}).loss.backward();
  EXPECT_GT(values.grad().norm().item<double>(), 0.0);
  for (const auto& held : {old_values, returns, weights}) EXPECT_FALSE(held.grad().defined());
}

TEST(ValueLoss, RefusesShapesThatDisagree) {
  const auto one = constant({1}), two = constant({1, 2});
  EXPECT_THROW(value_loss({two, one, two, two}), Error);
  EXPECT_THROW(value_loss({two, two, two, two}, 0.0), Error);
  EXPECT_THROW(explained_variance(one, two), Error);
}

}  // namespace
}  // namespace sluice::learner
