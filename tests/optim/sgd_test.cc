#include "optim/internal/sgd.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <utility>

#include "tests/optim/bound_parameters.h"

namespace sluice::optim {
namespace {

// Where a weight that starts at 1 is after each of two updates with a gradient of 1 at a learning rate of
// 0.1.
std::pair<double, double> two_updates(const OptimizerOptions& options) {
  const BoundParameters bound({{.name = "matrix", .shape = {1, 1}}});
  Sgd rule(bound.parameters(), options);
  bound.weight(0).fill_(1.0);
  bound.grad(0).fill_(1.0);
  bound.update(rule, 0.1);
  const double first = bound.weight(0).item<double>();
  bound.grad(0).fill_(1.0);
  bound.update(rule, 0.1, 1);
  return {first, bound.weight(0).item<double>()};
}

TEST(Sgd, FollowsTheGradientWhereThereIsNoMomentumAndRemembersNothing) {
  const OptimizerOptions options{.weight_decay = 0.0, .momentum = 0.0};
  const auto [first, second] = two_updates(options);
  EXPECT_DOUBLE_EQ(first, 0.9);
  EXPECT_DOUBLE_EQ(second, 0.8);
  const BoundParameters bound({{.name = "matrix", .shape = {1, 1}}});
  EXPECT_TRUE(Sgd(bound.parameters(), options).state().empty());
}

TEST(Sgd, FollowsItsMomentum) {
  const auto [first, second] = two_updates({.weight_decay = 0.0, .momentum = 0.5, .nesterov = false});
  EXPECT_DOUBLE_EQ(first, 0.9);    // 1 - 0.1 * 1
  EXPECT_DOUBLE_EQ(second, 0.75);  // 0.9 - 0.1 * (0.5 * 1 + 1)
}

TEST(Sgd, LooksAheadWithNesterov) {
  const auto [first, second] = two_updates({.weight_decay = 0.0, .momentum = 0.5, .nesterov = true});
  EXPECT_DOUBLE_EQ(first, 0.85);    // 1 - 0.1 * (1 + 0.5 * 1)
  EXPECT_DOUBLE_EQ(second, 0.675);  // 0.85 - 0.1 * (1 + 0.5 * 1.5)
}

TEST(Sgd, DecaysTheWeightsThemselvesAndNotThroughTheMomentum) {
  const auto [first, second] = two_updates({.weight_decay = 0.5, .momentum = 0.5, .nesterov = false});
  EXPECT_DOUBLE_EQ(first, 0.85);     // 1 * (1 - 0.1 * 0.5) - 0.1 * 1
  EXPECT_DOUBLE_EQ(second, 0.6575);  // 0.85 * 0.95 - 0.1 * 1.5
}

}  // namespace
}  // namespace sluice::optim
