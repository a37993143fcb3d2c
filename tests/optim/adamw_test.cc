#include "optim/internal/adamw.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/shared_work.h"
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

// On a GPU, which has no loops of ours; LibTorch has the same kernel for the CPU.
TEST(AdamW, IsThatOfLibTorchsFusedKernel) {
  constexpr int64_t kNumbers = 1000;
  const OptimizerOptions options{.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6};
  constexpr double kDecay = 0.3;
  const auto start = at::arange(kNumbers).sin();
  auto weights = start.clone(), first = at::zeros({kNumbers}), second = at::zeros({kNumbers});
  const BoundParameters bound({{.name = "matrix", .shape = {1, kNumbers}}});
  auto own = options;
  own.weight_decay = kDecay;
  AdamW rule(bound.parameters(), own);
  bound.weight(0).copy_(start);
  for (int64_t update = 1; update <= 3; ++update) {
    const UpdateFactors of{.lr = 0.1, .num_updates = update, .grad_scale = 0.25};
    const auto gradient = (at::arange(kNumbers) * static_cast<double>(update)).cos();
    // In two stretches.
    const auto halves = [](const at::Tensor& all) { return all.split(kNumbers / 2); };
    fused_adamw({.weights = halves(weights),
                 .grads = halves(gradient.clone()),
                 .first_moments = halves(first),
                 .second_moments = halves(second)},
                kDecay, of, options);
    bound.grad(0).copy_(gradient);
    rule.update(bound.parameters().flat(), bound.grad(0).flatten(), of);
  }
  EXPECT_TRUE(at::allclose(weights.to(at::kDouble), bound.weight(0).flatten(), 1e-5, 1e-6));
  EXPECT_FALSE(at::allclose(weights, start, 0.1, 0.1));
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

// Float32, as networks are trained: norms between matrices, so that the parts are odd ones.
struct Trained {
  model::Parameters parameters;
  at::Tensor weights, numbers;

  Trained() {
    for (const auto& [name, count] : {std::pair{"a", 70'001}, {"b", 3}, {"c", 40'000}}) {
      const auto kind = std::string(name) == "b" ? ParameterKind::Norm : ParameterKind::Matrix;
      parameters.add({.name = name, .shape = {1, count}, .kind = kind});
    }
    numbers = at::arange(parameters.num_numbers(), at::kDouble);
    weights = (numbers * 0.37).sin().to(at::kFloat);
    parameters.bind(weights, /*requires_grad=*/false);
  }
  at::Tensor grad() const { return (numbers * 0.11).cos().to(at::kFloat); }  // anew: an update leaves zeros
};

const OptimizerOptions kDecays{.weight_decay = 0.1};

TEST(AdamW, InFloat32MovesWeightsAsInFloat64) {
  Trained trained;
  auto exact = trained.weights.to(at::kDouble);
  const auto g = trained.grad().to(at::kDouble);
  auto m = at::zeros_like(exact), v = at::zeros_like(exact);
  const auto decay = at::full_like(exact, 0.1);
  decay.narrow(0, 70'001, 3).zero_();  // a norm
  AdamW rule(trained.parameters, kDecays);
  for (int64_t t = 1; t <= 3; ++t) {
    rule.update(trained.weights, trained.grad(), {.lr = 0.01, .num_updates = t});
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    const auto step = m / (1 - std::pow(0.9, t)) / ((v / (1 - std::pow(0.999, t))).sqrt() + 1e-8);
    exact = exact - 0.01 * (decay * exact + step);
  }
  EXPECT_TRUE(at::allclose(trained.weights.to(at::kDouble), exact, 1e-5, 1e-6));
}

TEST(AdamW, GivesTheSameBitsWithAnyNumberOfThreads) {
  const int before = work_threads();
  std::vector<at::Tensor> weights;
  for (const int threads : {1, 2, 3}) {
    set_work_threads(threads);
    Trained trained;
    AdamW rule(trained.parameters, kDecays);
    for (int64_t t = 1; t <= 2; ++t)
      rule.update(trained.weights, trained.grad(), {.lr = 0.01, .num_updates = t});
    weights.push_back(trained.weights);
  }
  set_work_threads(before);
  EXPECT_TRUE(weights[0].equal(weights[1]));
  EXPECT_TRUE(weights[0].equal(weights[2]));
}

TEST(AdamW, MovesByAScaledGradientAsByOneThatIsSmaller) {
  Trained scaled, smaller;
  AdamW of_scaled(scaled.parameters, kDecays), of_smaller(smaller.parameters, kDecays);
  for (int64_t t = 1; t <= 2; ++t) {
    of_scaled.update(scaled.weights, scaled.grad(), {.lr = 0.01, .num_updates = t, .grad_scale = 0.25});
    of_smaller.update(smaller.weights, smaller.grad().mul_(0.25), {.lr = 0.01, .num_updates = t});
  }
  EXPECT_TRUE(scaled.weights.equal(smaller.weights));  // a power of two: nothing is rounded
}

TEST(AdamW, PassesOnWhatIsNotFinite) {
  Trained trained;
  const auto grad = trained.grad();
  grad[5].fill_(std::numeric_limits<float>::quiet_NaN());
  grad[70'000].fill_(std::numeric_limits<float>::infinity());
  AdamW rule(trained.parameters, kDecays);
  rule.update(trained.weights, grad, {.lr = 0.01});
  const auto broken = trained.weights.isfinite().logical_not().nonzero().flatten();
  EXPECT_TRUE(broken.equal(at::tensor({5, 70'000}, at::kLong)));
}

}  // namespace
}  // namespace sluice::optim
