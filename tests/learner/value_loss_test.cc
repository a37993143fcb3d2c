#include "learner/value_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/learner/packed_example.h"

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

TEST(ValueLoss, RefusesShapesThatDisagree) {
  const auto one = constant({1}), two = constant({1, 2});
  EXPECT_THROW(value_loss({two, one, two, two}), Error);
  EXPECT_THROW(value_loss({two, two, two, two}, 0.0), Error);
  EXPECT_THROW(explained_variance(one, two), Error);
}

}  // namespace
}  // namespace sluice::learner
