#include "optim/internal/adamw.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/optim/bound_parameters.h"
#include "tests/spec_example.h"

namespace sluice::optim {
namespace {

using model::ParameterKind;

TEST(AdamW, MovesWeightsAsTheSpecificationSays) {
  const Json& example = spec_example("adamw");
  const Json& numbers = example["hyperparameters"];
  const Json& expected = example["expected"]["params_after_each_step"];
  const BoundParameters bound({{.name = "matrix", .shape = {1, 2}}});
  AdamW rule(bound.parameters(), {.beta1 = numbers["beta1"].get<double>(),
                                  .beta2 = numbers["beta2"].get<double>(),
                                  .eps = numbers["eps"].get<double>(),
                                  .weight_decay = numbers["weight_decay"].get<double>()});
  bound.weight(0).copy_(tensor_of(example["inputs"]["params"]));

  for (size_t i = 0; i < expected.size(); ++i) {
    bound.grad(0).copy_(tensor_of(example["inputs"]["grads"][i]));
    bound.update(rule, numbers["lr"].get<double>(), static_cast<int64_t>(i));
    EXPECT_TRUE(at::allclose(bound.weight(0)[0], tensor_of(expected[i]), 0.0, 1e-12)) << "update " << i + 1;
  }
}

TEST(AdamW, OfSomeParametersLeavesTheOthersAndRemembersNothingOfThem) {
  const BoundParameters bound({{.name = "first", .shape = {2}, .kind = ParameterKind::Vector},
                               {.name = "matrix", .shape = {2, 3}},
                               {.name = "second", .shape = {3}, .kind = ParameterKind::Norm},
                               {.name = "third", .shape = {1}, .kind = ParameterKind::Vector}});
  AdamW rule(bound.parameters(), {.weight_decay = 0.5},
             [](const model::ParameterSlot& slot) { return slot.kind != ParameterKind::Matrix; });
  for (size_t i = 0; i < 4; ++i) bound.grad(i).fill_(i % 2 == 0 ? 3.0 : -3.0);

  bound.update(rule, 0.1);

  // The first update of a number is lr in the direction of its gradient, whatever the size of that.
  EXPECT_TRUE(at::allclose(bound.weight(0), at::full({2}, -0.1, at::kDouble)));
  EXPECT_EQ(bound.weight(1).abs().max().item<double>(), 0.0);
  EXPECT_TRUE(at::allclose(bound.weight(2), at::full({3}, -0.1, at::kDouble)));
  EXPECT_TRUE(at::allclose(bound.weight(3), at::full({1}, 0.1, at::kDouble)));
  for (const auto& [name, tensor] : rule.state()) EXPECT_EQ(tensor.numel(), 6) << name;
}

}  // namespace
}  // namespace sluice::optim
