#include "optim/internal/muon.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "model/network.h"
#include "tests/optim/bound_parameters.h"
#include "tests/spec_example.h"
#include "tests/tiny_network.h"

namespace sluice::optim {
namespace {

using model::ParameterKind;
using testing::UnorderedElementsAre;

bool near(const at::Tensor& value, const at::Tensor& expected, double tolerance) {
  return at::allclose(value, expected, /*rtol=*/0.0, tolerance);
}

TEST(Muon, MovesAMatrixAsTheSpecificationSays) {
  const Json& example = spec_example("muon");
  const Json& numbers = example["hyperparameters"];
  for (const auto* adjust : {"original", "match_rms_adamw"}) {
    const BoundParameters bound({{.name = "matrix", .shape = {2, 3}}});
    Muon rule(bound.parameters(),
              {.weight_decay = numbers["weight_decay"].get<double>(),
               .momentum = numbers["momentum"].get<double>(),
               .nesterov = numbers["nesterov"].get<bool>(),
               .muon = {.ns_steps = numbers["ns_steps"].get<int64_t>(), .adjust = adjust}});
    bound.weight(0).copy_(tensor_of(example["inputs"]["params"]));

    const Json& expected = example["expected"][std::string("params_after_each_step_") + adjust];
    ASSERT_EQ(expected.size(), 2u);
    for (size_t i = 0; i < expected.size(); ++i) {
      bound.grad(0).copy_(tensor_of(example["inputs"]["grads"][i]));
      bound.update(rule, numbers["lr"].get<double>(), static_cast<int64_t>(i));
      EXPECT_TRUE(near(bound.weight(0), tensor_of(expected[i]), 1e-12)) << adjust << ", update " << i + 1;
    }
  }
}

TEST(Muon, OrthogonalizesAsTheSpecificationSays) {
  const Json& example = spec_example("muon");
  const Json& expected = example["expected"];
  const auto first = tensor_of(example["inputs"]["grads"][0]),
             second = tensor_of(example["inputs"]["grads"][1]);
  const auto buffer = 0.95 * first + second;

  EXPECT_TRUE(near(orthogonalized(first + 0.95 * first, 5),
                   tensor_of(expected["orthogonalised_update_step1"]), 1e-12));
  EXPECT_TRUE(near(orthogonalized(second + 0.95 * buffer, 5),
                   tensor_of(expected["orthogonalised_update_step2"]), 1e-12));
  const auto tall = tensor_of(example["inputs"]["tall_matrix"]);
  EXPECT_TRUE(near(orthogonalized(tall, 5), tensor_of(expected["newton_schulz_tall_matrix"]), 1e-12));
  // Float32, as weights are: five products of rounding.
  EXPECT_TRUE(near(orthogonalized(tall.to(at::kFloat), 5).to(at::kDouble),
                   tensor_of(expected["newton_schulz_tall_matrix"]), 1e-5));
}

// An orthogonal matrix [size, size]: the reflection along that vector (Householder 1958).
at::Tensor reflection(const at::Tensor& along) {
  return at::eye(along.numel(), at::kDouble) - 2.0 * at::outer(along, along) / along.square().sum();
}

TEST(Muon, ActsOnSingularValuesAsTheOddPolynomial) {
  const auto left = reflection(at::tensor({1.0, -2.0, 0.5}, at::kDouble));
  const auto right = reflection(at::tensor({0.3, 1.0, -1.0, 2.0, 0.7}, at::kDouble)).narrow(0, 0, 3);
  const auto values = at::tensor({2.0, 0.6, 0.01}, at::kDouble);
  const auto matrix = left.mm(values.diag()).mm(right);

  auto s = values / (values.norm() + 1e-7);
  for (int64_t steps = 1; steps <= 5; ++steps) {
    s = 3.4445 * s - 4.7750 * s.pow(3) + 2.0315 * s.pow(5);
    const auto expected = left.mm(s.diag()).mm(right);
    EXPECT_TRUE(near(orthogonalized(matrix, steps), expected, 1e-10)) << steps << " steps";
    EXPECT_TRUE(near(orthogonalized(matrix.t(), steps), expected.t(), 1e-10)) << steps << " steps, tall";
  }
}

TEST(Muon, BringsAWellConditionedMatrixNearAnOrthogonalOne) {
  const auto matrix = at::eye(24, 16, at::kFloat) * 3.0;
  const auto result = orthogonalized(matrix, 5);
  const auto diagonal = result.diagonal();
  EXPECT_GT(diagonal.min().item<double>(), 0.5);
  EXPECT_LT(diagonal.max().item<double>(), 1.5);
  EXPECT_EQ((result - at::eye(24, 16, at::kFloat) * diagonal).abs().max().item<double>(), 0.0);
}

TEST(Muon, LeavesAMatrixWithoutAGradientWhereItIs) {
  const BoundParameters bound({{.name = "matrix", .shape = {3, 2}}});
  Muon rule(bound.parameters(), {.weight_decay = 0.0});
  bound.weight(0).fill_(2.0);
  bound.update(rule, 0.1);
  EXPECT_TRUE(at::equal(bound.weight(0), at::full({3, 2}, 2.0, at::kDouble)));
}

TEST(Muon, WithoutNesterovFollowsTheBuffer) {
  const BoundParameters bound({{.name = "matrix", .shape = {2, 2}}});
  Muon rule(bound.parameters(),
            {.weight_decay = 0.0, .momentum = 0.5, .nesterov = false, .muon = {.adjust = "original"}});
  const auto first = at::tensor({1.0, 0.0, 0.0, 2.0}, at::kDouble).view({2, 2});
  const auto second = at::tensor({0.0, -1.0, 1.0, 0.0}, at::kDouble).view({2, 2});

  bound.grad(0).copy_(first);
  bound.update(rule, 1.0);
  bound.grad(0).copy_(second);
  bound.update(rule, 1.0, 1);

  EXPECT_TRUE(
      near(bound.weight(0), -orthogonalized(first, 5) - orthogonalized(0.5 * first + second, 5), 1e-12));
}

// The others start where they are with AdamW, at their own learning rate, and stay with it to the bit.
TEST(Muon, LeavesAllButHiddenMatricesToAdamW) {
  const std::vector<model::ParameterSlot> slots = {
      {.name = "embedding", .shape = {5, 4}, .kind = ParameterKind::Table},
      {.name = "norm", .shape = {4}, .kind = ParameterKind::Norm},
      {.name = "hidden", .shape = {3, 4}},
      {.name = "bias", .shape = {3}, .kind = ParameterKind::Vector},
      {.name = "router", .shape = {2, 4}, .is_router = true},
      {.name = "buffer", .shape = {2}, .kind = ParameterKind::Buffer},
      {.name = "head", .shape = {5, 4}, .is_head = true}};
  const OptimizerOptions options{.weight_decay = 0.1, .muon = {.adamw_lr_factor = 0.5}};
  const BoundParameters with_muon(slots), with_adamw(slots);
  Muon muon(with_muon.parameters(), options);
  AdamW adamw(with_adamw.parameters(), options);
  for (const auto* bound : {&with_muon, &with_adamw}) bound->parameters().flat().fill_(0.25);

  for (int64_t step = 0; step < 3; ++step) {
    for (size_t i = 0; i < slots.size(); ++i) {
      if (slots[i].kind == ParameterKind::Buffer) continue;
      const auto grad = at::arange(with_muon.grad(i).numel(), at::kDouble).view(slots[i].shape).sub(step);
      with_muon.grad(i).copy_(grad);
      with_adamw.grad(i).copy_(grad);
    }
    with_muon.update(muon, 0.02, step);
    with_adamw.update(adamw, 0.02 * 0.5, step);
  }

  for (size_t i = 0; i < slots.size(); ++i) {
    EXPECT_EQ(at::equal(with_muon.weight(i), with_adamw.weight(i)), slots[i].name != "hidden")
        << slots[i].name;
  }
  EXPECT_TRUE(at::equal(with_muon.weight(5), at::full({2}, 0.25, at::kDouble)));
  const auto state = muon.state();
  ASSERT_EQ(state.size(), 3u);
  EXPECT_EQ(state[0].name, "optimizer.momentum");
  EXPECT_EQ(state[0].tensor.numel(), 3 * 4);
  EXPECT_EQ(state[1].tensor.numel(), 5 * 4 + 4 + 3 + 2 * 4 + 2 + 5 * 4);
  EXPECT_EQ(state[2].tensor.numel(), state[1].tensor.numel());
}

// Last parts of the names of a network's matrices that move as hidden ones do.
std::set<std::string> hidden_matrices(const model::Network& network) {
  const auto& parameters = network.trained();
  Muon rule(parameters, {.weight_decay = 0.0});
  const auto weights = at::zeros_like(parameters.flat());
  // A gradient of 1 everywhere moves a number by lr under AdamW, and under Muon by less: such a matrix has
  // one singular value.
  rule.update(weights, at::ones_like(weights), {.lr = 1.0});
  std::set<std::string> names;
  for (const auto& slot : parameters.slots()) {
    const double moved = weights[slot.offset].abs().item<double>();
    if (moved > 0.999 || slot.kind == ParameterKind::Buffer) continue;
    const auto name = slot.name.substr(0, slot.name.rfind(".weight"));
    names.insert(name.substr(name.rfind('.') + 1));
  }
  return names;
}

TEST(Muon, OfANetworkMovesTheMatricesOfTheLayersAlone) {
  EXPECT_THAT(hidden_matrices(*tiny_network()), UnorderedElementsAre("q_proj", "k_proj", "v_proj", "o_proj",
                                                                     "gate_proj", "up_proj", "down_proj"));
  // The router, block_sparse_moe.gate, is not one.
  EXPECT_THAT(hidden_matrices(*tiny_mixtral()),
              UnorderedElementsAre("q_proj", "k_proj", "v_proj", "o_proj", "w1", "w2", "w3"));
}

TEST(Muon, TrainsAdaptersAsItDoesAnyMatrix) {
  const auto network = tiny_network();
  network->add_adapter({.rank = 2}, /*seed=*/1);
  EXPECT_THAT(hidden_matrices(*network), UnorderedElementsAre("lora_A", "lora_B"));
  const auto state = Muon(network->trained(), {}).state();
  EXPECT_EQ(state[0].tensor.numel(), network->trained().num_numbers());
  EXPECT_EQ(state[1].tensor.numel(), 0);
}

}  // namespace
}  // namespace sluice::optim
