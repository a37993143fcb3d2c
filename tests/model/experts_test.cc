// Routers, the sum over experts and the balancing losses against the examples of the specification, plain
// loops and central differences.
#include "model/experts.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/model/gradients.h"
#include "tests/spec_example.h"

namespace sluice::model {
namespace {

using at::Tensor;

Tensor logits_of(const Json& example) { return matrix_of(example.at("inputs").at("router_logits")); }

Tensor ids(const Json& json) { return matrix_of(json).to(at::kLong); }

TEST(Route, SoftmaxIsTheExampleOfTheSpec) {
  const auto& one = spec_example("moe_softmax_topk_and_aux_losses");
  const auto& expected = one.at("expected");
  const auto normalised = route(logits_of(one), {}, {.top_k = 2});
  EXPECT_TRUE(at::equal(normalised.experts, ids(expected.at("indices"))));
  EXPECT_LE(difference(normalised.weights, matrix_of(expected.at("weights_renormalised"))), 1e-9);
  const auto plain = route(logits_of(one), {}, {.top_k = 2, .normalise = false});
  EXPECT_TRUE(at::equal(plain.experts, ids(expected.at("indices"))));
  EXPECT_LE(difference(plain.weights, matrix_of(expected.at("weights_raw"))), 1e-9);
}

TEST(Route, SigmoidInGroupsIsTheExampleOfTheSpec) {
  const auto& one = spec_example("moe_deepseek_sigmoid_group_routing");
  const auto bias = vector_of(one.at("inputs").at("expert_bias"));
  const auto routing = route(logits_of(one), bias,
                             {.top_k = 2,
                              .score = RouterScore::Sigmoid,
                              .scale = 2.5,
                              .num_groups = 4,
                              .top_groups = 2,
                              .group_score = 2});
  EXPECT_TRUE(at::equal(routing.experts, ids(one.at("expected").at("indices"))));
  EXPECT_LE(difference(routing.weights, matrix_of(one.at("expected").at("weights"))), 1e-9);
}

TEST(Route, TheLowerIndexComesFirstAmongEquals) {
  const auto expect = [](const Tensor& logits, const RouterOptions& options, std::vector<int64_t> experts) {
    const auto routing = route(logits, {}, options);
    EXPECT_TRUE(at::equal(routing.experts[0], at::tensor(experts, at::kLong))) << routing.experts;
  };
  expect(at::zeros({1, 64}), {.top_k = 3}, {0, 1, 2});
  auto logits = at::zeros({1, 64});
  logits[0][40] = 1;
  expect(logits, {.top_k = 3}, {40, 0, 1});
  // Groups 0 and 2 are the best; group 1 has the same score as group 2 would have to beat.
  expect(at::tensor({1.f, 1.f, 0.f, 0.f, 0.f, 0.f}).view({1, 6}),
         {.top_k = 3, .num_groups = 3, .top_groups = 2, .group_score = 1}, {0, 1, 2});
  // Where scores saturate the logits still tell experts apart.
  expect(at::tensor({90.f, 100.f, 95.f}).view({1, 3}), {.top_k = 2, .score = RouterScore::Sigmoid}, {1, 2});
}

TEST(Route, NegativeScoresDoNotLetAnotherGroupIn) {
  // A bias of -5 on group 0: all its sums are below zero, and it is kept all the same when both groups are.
  const auto bias = at::tensor({-5.f, -5.f, -9.f, -9.f, -9.f, -9.f});
  const auto routing = route(at::zeros({1, 6}), bias,
                             {.top_k = 2, .score = RouterScore::Sigmoid, .num_groups = 3, .top_groups = 1});
  EXPECT_TRUE(at::equal(routing.experts, at::tensor({0, 1}, at::kLong).view({1, 2})));
}

TEST(Route, KeepsFloat32AtLeast) {
  const auto logits = numbers({2, 4}, 0);
  EXPECT_EQ(route(logits.to(at::kBFloat16), {}, {.top_k = 2}).weights.scalar_type(), at::kFloat);
  EXPECT_EQ(route(logits, {}, {.top_k = 2}).weights.scalar_type(), at::kDouble);
}

TEST(Route, GradientsAreThoseOfDifferences) {
  const auto bias = numbers({8}, 3) * 0.1;
  for (const auto score : {RouterScore::Softmax, RouterScore::Sigmoid}) {
    for (const bool normalise : {true, false}) {
      const RouterOptions options{
          .top_k = 3, .score = score, .normalise = normalise, .scale = 1.7, .num_groups = 4, .top_groups = 2};
      expect_gradients([&](const auto& in) { return route(in[0], bias, options).weights; },
                       {numbers({5, 8}, 0)});
    }
  }
}

TEST(Route, RefusesWhatCannotBeChosen) {
  const auto logits = at::zeros({1, 6});
  EXPECT_THROW(route(logits, {}, {.top_k = 7}), Error);
  EXPECT_THROW(route(logits, {}, {.top_k = 0}), Error);
  EXPECT_THROW(route(logits, {}, {.top_k = 3, .num_groups = 3, .top_groups = 1}), Error);
  EXPECT_THROW(route(logits, {}, {.top_k = 1, .num_groups = 4}), Error);
  EXPECT_THROW(route(logits, {}, {.top_k = 1, .num_groups = 3, .group_score = 3}), Error);
  EXPECT_THROW(route(logits, at::zeros({5}), {.top_k = 1}), Error);
}

constexpr int64_t kHidden = 4, kWidth = 3;

// Six experts whose numbers are given by `weights`: gate, up and down of one after another.
std::vector<Expert> experts_of(const std::vector<Tensor>& weights) {
  std::vector<Expert> experts;
  for (size_t i = 0; i + 1 < weights.size(); i += 2) {
    const auto& gate_up = weights[i];
    experts.push_back(
        {.gate_up = {.all = gate_up.detach(),
                     .parts = {gate_up.narrow(0, 0, kWidth), gate_up.narrow(0, kWidth, kWidth)}},
         .down = {.all = weights[i + 1].detach(), .parts = {weights[i + 1]}}});
  }
  return experts;
}

std::vector<Tensor> expert_weights(int64_t count) {
  std::vector<Tensor> weights;
  for (int64_t e = 0; e < count; ++e) {
    weights.push_back(numbers({2 * kWidth, kHidden}, static_cast<double>(e)));
    weights.push_back(numbers({kHidden, kWidth}, static_cast<double>(e) + 0.5));
  }
  return weights;
}

// Every expert on every row, weighted by zero where it was not chosen.
Tensor dense_sum(const Tensor& x, const Routing& routing, const std::vector<Tensor>& weights,
                 Activation activation) {
  auto sum = at::zeros_like(x);
  for (size_t e = 0; 2 * e < weights.size(); ++e) {
    const auto gate_up = at::mm(x, weights[2 * e].t());
    const auto inner = activate(gate_up.narrow(1, 0, kWidth), activation) * gate_up.narrow(1, kWidth, kWidth);
    const auto chosen = routing.experts.eq(static_cast<int64_t>(e));
    const auto weight = (routing.weights * chosen).sum(1, /*keepdim=*/true);
    sum = sum + at::mm(inner, weights[2 * e + 1].t()) * weight;
  }
  return sum;
}

TEST(MixExperts, IsTheDenseSumWithItsGradients) {
  for (const auto activation : {Activation::Silu, Activation::GeluTanh}) {
    const auto run = [&](bool dense) {
      auto weights = expert_weights(6);
      for (auto& weight : weights) weight.requires_grad_(true);
      const auto x = numbers({7, kHidden}, 3).requires_grad_(true);
      const auto logits = numbers({7, 6}, 5).requires_grad_(true);
      const auto routing = route(logits, {}, {.top_k = 2});
      const auto out = dense ? dense_sum(x, routing, weights, activation)
                             : mix_experts(x, routing, experts_of(weights), activation);
      (out * numbers({7, kHidden}, 8)).sum().backward();
      std::vector<Tensor> results{out.detach(), x.grad(), logits.grad()};
      for (const auto& weight : weights) {
        results.push_back(weight.grad().defined() ? weight.grad() : at::zeros_like(weight));
      }
      return results;
    };
    const auto routed = run(false), dense = run(true);
    for (size_t i = 0; i < routed.size(); ++i) EXPECT_LE(difference(routed[i], dense[i]), 1e-12) << i;
  }
}

TEST(MixExperts, GradientsAreThoseOfDifferences) {
  auto inputs = expert_weights(3);
  inputs.push_back(numbers({4, kHidden}, 3));
  inputs.push_back(numbers({4, 3}, 5));
  expect_gradients(
      [](const auto& in) {
        const auto routing =
            route(in[7], {}, {.top_k = 2, .score = RouterScore::Sigmoid, .normalise = true, .scale = 2.5});
        // The product reads the fused memory, so it has to be that of the parts.
        return mix_experts(in[6], routing, experts_of({in.begin(), in.begin() + 6}), Activation::Silu);
      },
      inputs);
}

TEST(MixExperts, AnExpertThatNobodyChoseGetsNoGradient) {
  auto weights = expert_weights(3);
  for (auto& weight : weights) weight.requires_grad_(true);
  const Routing routing{.experts = at::tensor({2, 0, 0, 2}, at::kLong).view({2, 2}),
                        .weights = numbers({2, 2}, 0)};
  mix_experts(numbers({2, kHidden}, 1), routing, experts_of(weights), Activation::Silu).sum().backward();
  EXPECT_TRUE(weights[1].grad().defined());
  EXPECT_FALSE(weights[2].grad().defined());
  EXPECT_FALSE(weights[3].grad().defined());
  EXPECT_TRUE(weights[5].grad().defined());
}

TEST(MixExperts, GivesTheSameBelowAutogradAndToARowAlone) {
  std::vector<Tensor> weights;
  for (const auto& weight : expert_weights(6)) weights.push_back(weight.to(at::kFloat));
  const auto x = numbers({9, kHidden}, 3).to(at::kFloat), logits = numbers({9, 6}, 5).to(at::kFloat);
  const auto mixed = [&](const Tensor& rows, const Tensor& router) {
    return mix_experts(rows, route(router, {}, {.top_k = 3}), experts_of(weights), Activation::Silu);
  };
  const auto whole = mixed(x, logits);
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below;
  EXPECT_TRUE(at::equal(mixed(x, logits), whole));
  for (int64_t row = 0; row < 9; ++row) {
    EXPECT_LE(difference(mixed(x.narrow(0, row, 1), logits.narrow(0, row, 1)), whole.narrow(0, row, 1)),
              1e-6);
  }
  EXPECT_EQ(mixed(x.narrow(0, 0, 0), logits.narrow(0, 0, 0)).sizes(), at::IntArrayRef({0, kHidden}));
}

TEST(MixExperts, TakesWeightsStoredAsBfloat16) {
  std::vector<Tensor> stored, wide;
  for (const auto& weight : expert_weights(3)) {
    stored.push_back(weight.to(at::kBFloat16));
    wide.push_back(stored.back().to(at::kFloat));
  }
  const auto x = numbers({5, kHidden}, 3).to(at::kFloat);
  const auto routing = route(numbers({5, 3}, 5).to(at::kFloat), {}, {.top_k = 2});
  EXPECT_TRUE(at::equal(mix_experts(x, routing, experts_of(stored), Activation::Silu),
                        mix_experts(x, routing, experts_of(wide), Activation::Silu)));
}

TEST(MixExperts, RefusesAnExpertThatIsNotThere) {
  const Routing routing{.experts = at::tensor({3}, at::kLong).view({1, 1}), .weights = at::ones({1, 1})};
  EXPECT_THROW(
      mix_experts(numbers({1, kHidden}, 0), routing, experts_of(expert_weights(3)), Activation::Silu), Error);
}

TEST(BalanceLoss, IsTheExampleOfTheSpecWithItsGradient) {
  const auto& one = spec_example("moe_softmax_topk_and_aux_losses");
  const auto& expected = one.at("expected");
  const auto logits = logits_of(one).requires_grad_(true);
  const auto experts = ids(expected.at("indices"));
  const auto loss = balance_loss(logits, experts);
  loss.backward();
  EXPECT_NEAR(loss.item<double>(), expected.at("load_balance_loss").get<double>(), 1e-9);
  EXPECT_LE(difference(logits.grad(), matrix_of(expected.at("grad_load_balance_wrt_logits"))), 1e-9);
}

TEST(BalanceLoss, LeavesPaddingOutAsInTheExampleOfTheSpec) {
  const auto& one = spec_example("moe_aux_loss_with_padding");
  const auto logits = logits_of(one);
  const auto experts = route(logits, {}, {.top_k = 2}).experts;
  const auto mask = vector_of(one.at("inputs").at("token_mask"));
  const double expected = one.at("expected").at("load_balance_loss").get<double>();
  EXPECT_NEAR(balance_loss(logits, experts, mask).item<double>(), expected, 1e-9);
  EXPECT_NEAR(balance_loss(logits, experts, mask.to(at::kBool)).item<double>(), expected, 1e-9);
  EXPECT_THROW(balance_loss(logits, experts, at::zeros({4})), Error);
}

TEST(BalanceLoss, IsOneWhenBalanced) {
  const auto experts = at::tensor({0, 1, 2, 3}, at::kLong).view({4, 1});
  EXPECT_NEAR(balance_loss(at::zeros({4, 4}), experts).item<double>(), 1.0, 1e-7);
}

TEST(RouterZLoss, IsTheExampleOfTheSpecWithItsGradient) {
  const auto& one = spec_example("moe_softmax_topk_and_aux_losses");
  const auto logits = logits_of(one).requires_grad_(true);
  const auto loss = router_z_loss(logits);
  loss.backward();
  EXPECT_NEAR(loss.item<double>(), one.at("expected").at("z_loss").get<double>(), 1e-9);
  EXPECT_LE(difference(logits.grad(), matrix_of(one.at("expected").at("grad_z_loss_wrt_logits"))), 1e-9);
}

TEST(SequenceBalanceLoss, IsTheExampleOfTheSpecAndHasTheGradientOfDifferences) {
  const auto& one = spec_example("moe_sequence_balance_loss");
  const double alpha = one.at("hyperparameters").at("alpha").get<double>();
  EXPECT_NEAR(sequence_balance_loss(logits_of(one), 2, alpha).item<double>(),
              one.at("expected").at("loss").get<double>(), 1e-13);
  expect_gradients([](const auto& in) { return sequence_balance_loss(in[0], 2, 0.5); }, {logits_of(one)});
}

TEST(BalancedBias, MovesByASignAsInTheSpecification) {
  const auto& example = spec_example("moe_bias_update");
  const auto bias = balanced_bias(vector_of(example.at("inputs").at("expert_bias")),
                                  vector_of(example.at("inputs").at("expert_counts")), 0.001);
  EXPECT_LE(difference(bias, vector_of(example.at("expected").at("new_bias"))), 1e-12);
}

TEST(NoisyTopK, IsTheSpecifications) {
  const auto& example = spec_example("moe_noisy_topk");
  const auto input = [&](const char* name) { return matrix_of(example.at("inputs").at(name)); };
  const auto gated =
      noisy_top_k(input("clean_logits"), input("raw_noise_std"), input("standard_normal_noise"), 2);
  const auto& expected = example.at("expected");
  EXPECT_LE(difference(gated.logits, matrix_of(expected.at("noisy_logits"))), 1e-9);
  EXPECT_LE(difference(gated.gates, matrix_of(expected.at("gates"))), 1e-9);
  EXPECT_LE(difference(gated.importance, vector_of(expected.at("importance"))), 1e-9);
  EXPECT_LE(difference(gated.load, vector_of(expected.at("load"))), 1e-9);
  const auto loss = 0.1 * squared_variation(gated.importance) + 0.1 * squared_variation(gated.load);
  EXPECT_NEAR(loss.item<double>(), expected.at("loss").get<double>(), 1e-9);
}

}  // namespace
}  // namespace sluice::model
