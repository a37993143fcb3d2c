#include "optim/optimizer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "tests/spec_example.h"
#include "tests/tiny_network.h"

namespace sluice::optim {
namespace {

constexpr const char* kMatrix = "model.layers.0.mlp.down_proj.weight";
constexpr const char* kNorm = "model.norm.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";

// Two ranks with the same gradient, seen from one of them.
class TwinCollective final : public transport::Collective {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 2; }
  void all_reduce_sum(at::Tensor& tensor) override { tensor.mul_(2.0); }
};

struct Fixture {
  explicit Fixture(const OptimizerOptions& options, int64_t total_steps = 100)
      : network(tiny_network()), optimizer(*network, collective, options, total_steps) {}

  const at::Tensor& parameter(const std::string& name) const {
    for (const auto& parameter : network->parameters()) {
      if (parameter.name == name) return parameter.tensor;
    }
    fail("no parameter is called ", name);
  }
  // The first numbers of a parameter.
  void set(const std::string& name, const std::vector<double>& values) const {
    const c10::NoGradGuard no_grad;
    head_of(parameter(name), values.size()).copy_(at::tensor(values));
  }
  void set_grad(const std::string& name, const std::vector<double>& values) const {
    head_of(parameter(name).grad(), values.size()).copy_(at::tensor(values));
  }
  static at::Tensor head_of(const at::Tensor& tensor, size_t count) {
    return tensor.detach().view(-1).narrow(0, 0, static_cast<int64_t>(count));
  }

  transport::SoloCollective collective;
  std::unique_ptr<model::Network> network;
  Optimizer optimizer;
};

void expect_near(const at::Tensor& values, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(values.numel(), static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(values[static_cast<int64_t>(i)].item<double>(), expected[i], tolerance) << "at " << i;
  }
}

TEST(Schedule, GivesTheMultipliersOfTheSpecification) {
  const Json& example = spec_example("lr_schedules");
  const auto steps = example["inputs"]["steps"].get<std::vector<int64_t>>();
  const Json& numbers = example["hyperparameters"];
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"constant", "constant_with_warmup"}, {"linear", "linear"}, {"cosine", "cosine_min_ratio"}};

  for (const auto& [kind, name] : kinds) {
    const ScheduleOptions options{.kind = kind,
                                  .warmup_steps = numbers["warmup_steps"].get<int64_t>(),
                                  .warmup_from_zero = true,
                                  .min_ratio = numbers["min_lr_ratio"].get<double>()};
    const auto expected = example["expected"][name].get<std::vector<double>>();
    for (size_t i = 0; i < steps.size(); ++i) {
      EXPECT_NEAR(schedule_multiplier(options, steps[i], numbers["total_steps"].get<int64_t>()), expected[i],
                  1e-12)
          << kind << " at step " << steps[i];
    }
  }
}

TEST(Schedule, WarmsUpSoThatTheFirstUpdateMovesAndTheLastOfTheWarmUpIsWhole) {
  const ScheduleOptions options{.kind = "linear", .warmup_steps = 4};
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 0, 20), 0.25);
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 3, 20), 1.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 4, 20), 1.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier(options, 12, 20), 0.5);
}

TEST(Schedule, RefusesAnUnknownKindAndAWarmUpOfMinusOneSteps) {
  EXPECT_THROW(schedule_multiplier({.kind = "cosin"}, 0, 10), Error);
  EXPECT_THROW(schedule_multiplier({.warmup_steps = -1}, 0, 10), Error);
}

TEST(Schedule, AWarmUpLongerThanTheRunNeitherDividesByZeroNorFallsBelowZero) {
  EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = "linear", .warmup_steps = 10}, 10, 10), 1.0);
  EXPECT_DOUBLE_EQ(schedule_multiplier({.kind = "linear", .warmup_steps = 10}, 12, 10), 0.0);
}

TEST(Optimizer, MovesWeightsAsTheSpecificationSays) {
  const Json& example = spec_example("adamw");
  const Json& numbers = example["hyperparameters"];
  Fixture fixture({.lr = numbers["lr"].get<double>(),
                   .beta1 = numbers["beta1"].get<double>(),
                   .beta2 = numbers["beta2"].get<double>(),
                   .eps = numbers["eps"].get<double>(),
                   .weight_decay = numbers["weight_decay"].get<double>(),
                   .max_grad_norm = 0.0});
  const auto grads = example["inputs"]["grads"].get<std::vector<std::vector<double>>>();
  const auto expected = example["expected"]["params_after_each_step"].get<std::vector<std::vector<double>>>();
  fixture.set(kMatrix, example["inputs"]["params"].get<std::vector<double>>());

  for (size_t i = 0; i < grads.size(); ++i) {
    fixture.optimizer.zero_grad();
    fixture.set_grad(kMatrix, grads[i]);
    EXPECT_TRUE(fixture.optimizer.step().applied);
    expect_near(Fixture::head_of(fixture.parameter(kMatrix), 2), expected[i],
                4e-7);  // 2 float32 roundings at 2
  }
}

TEST(Optimizer, DecaysMatricesAndSparesNormsAndEmbeddings) {
  for (const bool decay_all : {false, true}) {
    Fixture fixture({.lr = 0.1, .weight_decay = 0.5, .decay_all = decay_all});
    for (const auto* name : {kMatrix, kNorm, kEmbedding}) fixture.set(name, {2.0});

    fixture.optimizer.step();  // no gradient: the decay alone, 2 * (1 - 0.1 * 0.5)

    expect_near(Fixture::head_of(fixture.parameter(kMatrix), 1), {1.9}, 1e-6);
    expect_near(Fixture::head_of(fixture.parameter(kNorm), 1), {decay_all ? 1.9 : 2.0}, 1e-6);
    expect_near(Fixture::head_of(fixture.parameter(kEmbedding), 1), {decay_all ? 1.9 : 2.0}, 1e-6);
  }
}

TEST(Optimizer, ClipsByTheNormOfAllGradientsTogether) {
  const Json& example = spec_example("grad_clip_global_norm");
  Fixture fixture({.max_grad_norm = example["hyperparameters"]["max_norm"].get<double>()});
  fixture.set_grad(kNorm, {3.0, -4.0});
  fixture.set_grad(kMatrix, {1.0, 2.0, -2.0, 0.0});

  const auto report = fixture.optimizer.step();

  EXPECT_NEAR(report.grad_norm, example["expected"]["norm"].get<double>(), 1e-6);
  const Json& clipped = example["expected"]["clipped"];
  expect_near(Fixture::head_of(fixture.parameter(kNorm).grad(), 2), clipped[0].get<std::vector<double>>(),
              1e-6);
  auto rows = clipped[1].get<std::vector<std::vector<double>>>();
  rows[0].insert(rows[0].end(), rows[1].begin(), rows[1].end());
  expect_near(Fixture::head_of(fixture.parameter(kMatrix).grad(), 4), rows[0], 1e-6);
}

TEST(Optimizer, LeavesASmallGradientAsItIs) {
  Fixture fixture({.max_grad_norm = 1.0});
  fixture.set_grad(kMatrix, {0.3, -0.4});
  EXPECT_NEAR(fixture.optimizer.step().grad_norm, 0.5, 1e-7);
  expect_near(Fixture::head_of(fixture.parameter(kMatrix).grad(), 2), {0.3, -0.4}, 1e-7);
}

TEST(Optimizer, MeasuresTheNormOverWholeRowsAndTheRest) {
  Fixture fixture({.max_grad_norm = 0.0});
  for (const auto& parameter : fixture.network->parameters()) parameter.tensor.grad().fill_(0.5);
  const auto count = static_cast<double>(fixture.network->flat().numel());
  EXPECT_NEAR(fixture.optimizer.step().grad_norm, 0.5 * std::sqrt(count), 1e-4);
}

TEST(Optimizer, AddsTheGradientsOfTheRanksBeforeItClips) {
  const auto network = tiny_network();
  TwinCollective twin;
  Optimizer optimizer(*network, twin, {.max_grad_norm = 1.0}, 10);
  network->parameters()[0].tensor.grad().view(-1)[0] = 3.0;
  EXPECT_NEAR(optimizer.step().grad_norm, 6.0, 1e-6);
  EXPECT_NEAR(network->parameters()[0].tensor.grad().view(-1)[0].item<double>(), 1.0, 1e-5);
}

TEST(Optimizer, BackwardAddsIntoTheFlatBufferInsteadOfReplacingIt) {
  Fixture fixture({});
  const auto& parameter = fixture.parameter(kMatrix);
  const auto* before = parameter.grad().const_data_ptr();

  for (int i = 0; i < 2; ++i) (parameter * 3.0).sum().backward();

  EXPECT_EQ(parameter.grad().const_data_ptr(), before);
  EXPECT_EQ(parameter.grad().min().item<double>(), 6.0);
  fixture.optimizer.zero_grad();
  EXPECT_EQ(parameter.grad().const_data_ptr(), before);
  EXPECT_EQ(parameter.grad().abs().max().item<double>(), 0.0);
}

TEST(Optimizer, BackwardThroughTheNetworkReachesEveryParameterInTheFlatBuffer) {
  Fixture fixture({});
  model::PackedBatchBuilder rows;
  const std::vector<int32_t> tokens = {3, 4, 5, 6};
  rows.add(tokens);
  const model::TokenTargets targets{at::tensor({0, 1, 2, 3}, at::kLong), at::tensor({4, 5, 6, 2}, at::kLong)};

  fixture.network->logprobs(rows.build(at::kCPU), targets, 1.0).logprobs.sum().backward();

  for (const auto& [name, tensor] : fixture.network->parameters()) {
    EXPECT_GT(tensor.grad().abs().sum().item<double>(), 0.0) << name;
  }
  EXPECT_TRUE(fixture.optimizer.step().applied);  // the views are still those of the optimizer
}

TEST(Optimizer, RefusesAGradientThatWasReplaced) {
  Fixture fixture({});
  fixture.parameter(kMatrix).mutable_grad() = at::zeros_like(fixture.parameter(kMatrix));
  EXPECT_THROW(fixture.optimizer.step(), Error);
}

TEST(Optimizer, SkipsAGradientThatIsNotFiniteAndCountsIt) {
  Fixture fixture({.lr = 0.1});
  fixture.set_grad(kMatrix, {1.0});
  fixture.optimizer.step();
  const auto weights = fixture.network->flat().clone();
  const auto moments = fixture.optimizer.state();

  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    fixture.set_grad(kMatrix, {bad});
    EXPECT_FALSE(fixture.optimizer.step().applied);
  }

  EXPECT_EQ(fixture.optimizer.num_steps(), 3);
  EXPECT_EQ(fixture.optimizer.num_skipped(), 2);
  EXPECT_TRUE(at::equal(fixture.network->flat(), weights));
  const auto after = fixture.optimizer.state();
  EXPECT_TRUE(at::equal(after[0].tensor, moments[0].tensor));
  EXPECT_TRUE(at::equal(after[1].tensor, moments[1].tensor));
}

TEST(Optimizer, SkipsAStepThatWasRejectedAndGoesOnAfterwards) {
  Fixture fixture({});
  fixture.optimizer.reject();
  EXPECT_FALSE(fixture.optimizer.step().applied);
  fixture.optimizer.zero_grad();
  EXPECT_TRUE(fixture.optimizer.step().applied);
  EXPECT_EQ(fixture.optimizer.num_skipped(), 1);
}

// Three updates in one go, or two and one with a checkpoint between: the same bits.
TEST(Optimizer, GoesOnFromItsStateWithTheSameBits) {
  const OptimizerOptions options{.lr = 0.01, .schedule = {.kind = "cosine", .warmup_steps = 2}};
  const auto update = [](Fixture& fixture, double gradient) {
    fixture.optimizer.zero_grad();
    fixture.set_grad(kMatrix, {gradient, -gradient, 0.25});
    fixture.set_grad(kNorm, {gradient});
    fixture.optimizer.step();
  };
  Fixture whole(options), first(options), second(options);
  for (const double gradient : {0.5, -0.3, 0.7}) update(whole, gradient);

  for (const double gradient : {0.5, -0.3}) update(first, gradient);
  const auto state = first.optimizer.state();
  const auto weights = first.network->flat().clone();
  update(first, 9.0);  // the state is a copy: what comes later does not change it
  second.network->flat().copy_(weights);
  second.optimizer.load(state);
  update(second, 0.7);

  EXPECT_TRUE(at::equal(second.network->flat(), whole.network->flat()));
  EXPECT_EQ(second.optimizer.num_steps(), 3);
}

TEST(Optimizer, RefusesAStateThatIsNotItsOwn) {
  Fixture fixture({});
  const auto good = fixture.optimizer.state();
  auto renamed = good, short_one = good, other_type = good, counted_wrong = good;
  renamed[0].name = "exp_avg";
  short_one[1].tensor = short_one[1].tensor.slice(0, 1);
  other_type[1].tensor = other_type[1].tensor.to(at::kDouble);
  counted_wrong[2].tensor = at::tensor({5, 1, 1}, at::kLong);
  for (const auto& state : {renamed, short_one, other_type, counted_wrong}) {
    EXPECT_THROW(fixture.optimizer.load(state), DataError);
  }
  EXPECT_NO_THROW(fixture.optimizer.load(good));
}

TEST(Optimizer, RefusesOptionsThatMakeNoSense) {
  EXPECT_THROW(Fixture({.lr = -1.0}), Error);
  EXPECT_THROW(Fixture({.beta2 = 1.0}), Error);
  EXPECT_THROW(Fixture({.schedule = {.kind = "step"}}), Error);
  EXPECT_THROW(Fixture({}, /*total_steps=*/0), Error);
}

}  // namespace
}  // namespace sluice::optim
