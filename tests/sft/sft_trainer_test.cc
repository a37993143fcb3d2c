#include "sft/sft_trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/philox.h"
#include "tests/float16_step.h"
#include "tests/step_gradient.h"
#include "tests/tiny_network.h"

namespace sluice::sft {
namespace {

std::vector<Example> random_examples(int count, uint64_t seed) {
  uint64_t draws = 0;
  const auto up_to = [&](int n) {
    return static_cast<int32_t>(random_uniform(seed, RandomUse::Data, 1, 0, draws++) * n);
  };
  std::vector<Example> examples;
  for (int i = 0; i < count; ++i) {
    Example example;
    const int prompt = 1 + up_to(5), length = prompt + 1 + up_to(10);
    for (int t = 0; t < length; ++t) {
      example.tokens.push_back(up_to(23));
      example.weights.push_back(t < prompt ? 0.0f : 1.0f + static_cast<float>(up_to(4)) / 2);
    }
    examples.push_back(std::move(example));
  }
  return examples;
}

struct Fixture {
  explicit Fixture(const SftOptions& options, const optim::OptimizerOptions& update = {.max_grad_norm = 0.0},
                   std::unique_ptr<model::Network> trained = tiny_network())
      : network(std::move(trained)),
        optimizer(*network, collective, update, /*total_steps=*/100),
        trainer(*network, optimizer, options) {}

  at::Tensor grad() const { return step_gradient(optimizer); }

  transport::SoloCollective collective;
  std::unique_ptr<model::Network> network;
  optim::Optimizer optimizer;
  SftTrainer trainer;
};

class SplitStep : public testing::TestWithParam<LossKind> {};

TEST_P(SplitStep, HasTheSameGradientHoweverItIsPacked) {
  const auto examples = random_examples(12, /*seed=*/3);
  at::Tensor whole;
  double loss = 0.0;
  for (const int64_t rows : {1 << 20, 40, 17, 1}) {  // 1: every example in a pack of its own
    Fixture fixture({.micro_batch_tokens = rows, .loss = GetParam()});
    const auto metrics = fixture.trainer.step(examples);
    const auto grad = fixture.grad();
    if (!whole.defined()) {
      whole = grad;
      loss = metrics.at("loss");
      const double share = GetParam() == LossKind::Dft ? 1.0 / 23.0 : 1.0;
      EXPECT_NEAR(loss, share * std::log(23.0), 0.2 * share);
    }
    EXPECT_LE((grad - whole).norm().item<double>(), 1e-5 * whole.norm().item<double>());
    EXPECT_NEAR(metrics.at("loss"), loss, 1e-5);
  }
}

TEST(SftTrainer, CountsTheTokensThatAreTheLikeliest) {
  const Example example{.tokens = {3, 4, 5, 6, 2}, .weights = {0, 0, 1, 2, 1}};
  Fixture fixture({}, {.lr = 0.0});
  const auto batch = pack_examples(std::vector{example}, 100, at::kCPU).front();
  const auto logits = fixture.network->scaled_logits(fixture.network->forward(batch.batch), 1.0);
  const auto right = logits.argmax(1).narrow(0, 1, 3).eq(batch.targets.tokens).sum().item<double>();
  EXPECT_EQ(fixture.trainer.step(std::vector{example}).at("mean_token_accuracy"), right / 3);

  Fixture learned({}, {.lr = 1e-2});
  for (int64_t step = 0; step < 40; ++step) learned.trainer.step(std::vector{example});
  EXPECT_EQ(learned.trainer.step(std::vector{example}).at("mean_token_accuracy"), 1.0);
}

TEST(SftTrainer, WithoutNoiseHasTheSameBitsAsWithNoiseOfNothing) {
  const auto examples = random_examples(4, /*seed=*/3);
  Fixture plain({}), silent({.noise = {.alpha = 0.0, .seed = 5}});
  EXPECT_EQ(plain.trainer.step(examples, 3).at("loss"), silent.trainer.step(examples, 4).at("loss"));
  EXPECT_TRUE(at::equal(plain.grad(), silent.grad()));
}

TEST(SftTrainer, AddsNoiseThatDependsOnSeedAndStepAndNotOnTheCut) {
  const auto examples = random_examples(12, /*seed=*/3);
  const auto train = [&](const NoiseOptions& noise, int64_t number, int64_t rows, double& loss) {
    Fixture fixture({.micro_batch_tokens = rows, .noise = noise});
    loss = fixture.trainer.step(examples, number).at("loss");
    return fixture.grad();
  };
  double plain = 0, whole = 0, cut = 0, other_step = 0, other_seed = 0;
  train({}, 2, 1 << 20, plain);
  const auto gradient = train({.alpha = 5.0, .seed = 1}, 2, 1 << 20, whole);
  const auto gradient_cut = train({.alpha = 5.0, .seed = 1}, 2, 17, cut);
  train({.alpha = 5.0, .seed = 1}, 3, 1 << 20, other_step);
  train({.alpha = 5.0, .seed = 2}, 2, 1 << 20, other_seed);
  EXPECT_GT(std::abs(whole - plain), 1e-3);
  EXPECT_GT(std::abs(whole - other_step), 1e-3);
  EXPECT_GT(std::abs(whole - other_seed), 1e-3);
  EXPECT_NEAR(cut, whole, 1e-5);
  EXPECT_LE((gradient_cut - gradient).norm().item<double>(), 1e-5 * gradient.norm().item<double>());
}

INSTANTIATE_TEST_SUITE_P(Losses, SplitStep, testing::Values(LossKind::Nll, LossKind::Dft));

TEST(SftTrainer, CountsAWeightOfTwoAsTheSameExampleTwice) {
  const Example once{.tokens = {3, 4, 5, 6}, .weights = {0, 0, 1, 1}};
  const Example other{.tokens = {7, 8, 9}, .weights = {0, 1, 1}};
  Example heavy = once;
  heavy.weights = {0, 0, 2, 2};
  Fixture repeated({}), weighted({});
  const auto loss = repeated.trainer.step(std::vector{once, once, other}).at("loss");
  EXPECT_NEAR(weighted.trainer.step(std::vector{heavy, other}).at("loss"), loss, 1e-6);
  EXPECT_LE((weighted.grad() - repeated.grad()).norm().item<double>(),
            1e-5 * repeated.grad().norm().item<double>());
}

TEST(SftTrainer, LearnsAnExampleByHeart) {
  const std::vector<Example> examples(2, {.tokens = {3, 4, 5, 6, 2}, .weights = {0, 0, 1, 1, 1}});
  Fixture fixture({}, {.lr = 1e-2});
  const double before = fixture.trainer.step(examples).at("loss");
  StepMetrics metrics;
  for (int64_t step = 1; step < 40; ++step) metrics = fixture.trainer.step(examples);
  EXPECT_GT(before, 2.5);
  EXPECT_LT(metrics.at("loss"), 0.1);
  EXPECT_EQ(metrics.at("num_tokens"), 10.0);
  EXPECT_GT(metrics.at("grad_norm"), 0.0);
  EXPECT_EQ(metrics.at("learning_rate"), 1e-2);
}

// Each token but a third of them follows from the one before.
std::vector<Example> noisy_chains(uint64_t step) {
  uint64_t draws = 0;
  const auto uniform = [&] { return random_uniform(9, RandomUse::Data, step, 0, draws++); };
  std::vector<Example> examples(8);
  for (auto& example : examples) {
    int32_t token = static_cast<int32_t>(uniform() * 23);
    for (int t = 0; t < 20; ++t) {
      example.tokens.push_back(token);
      example.weights.push_back(t == 0 ? 0.0f : 1.0f);
      token = uniform() < 0.67 ? (3 * token + 1) % 23 : static_cast<int32_t>(uniform() * 23);
    }
  }
  return examples;
}

TEST(SftTrainer, EndsNearTheSameLossWithProductsOfNarrowNumbers) {
  const auto last_losses = [](model::Rounding rounding) {
    auto network = tiny_network();
    network->round_products(rounding);
    Fixture fixture({}, {.lr = 1e-2}, std::move(network));
    double sum = 0.0;
    for (uint64_t step = 0; step < 200; ++step) {
      const double loss = fixture.trainer.step(noisy_chains(step)).at("loss");
      if (step >= 180) sum += loss / 20;
    }
    return sum;
  };
  const double exact = last_losses(model::Rounding::None);
  EXPECT_LT(exact, 2.4);  // log 23 is 3.1, what can be learned leaves some 2.0
  for (const auto rounding : {model::Rounding::BFloat16Both, model::Rounding::Float16Both}) {
    const double rounded = last_losses(rounding);
    EXPECT_NE(rounded, exact);
    EXPECT_NEAR(rounded, exact, 0.05 * exact);
  }
}

TEST(SftTrainer, ScalesItsLossForProductsOfFloat16) {
  expect_loss_scaled([](model::Rounding products) {
    Fixture fixture({}, {}, with_products(products, tiny_network()));
    return fixture.trainer.step(random_examples(2, /*seed=*/3)).at("grad_norm");
  });
}

TEST(SftTrainer, RefusesAStepWithoutAnExample) {
  Fixture fixture({});
  EXPECT_THROW(fixture.trainer.step({}), DataError);
}

at::Tensor router_grad(const Fixture& fixture) {
  for (const auto& slot : fixture.network->trained().slots()) {
    if (slot.name.ends_with("0.block_sparse_moe.gate.weight"))
      return fixture.grad().narrow(0, slot.offset, slot.count);
  }
  return {};
}

TEST(SftTrainer, MovesTheRouterByTheBalancingLoss) {
  const auto examples = random_examples(6, /*seed=*/4);
  const auto trained = [&](double coefficient, double& loss, double& aux_loss) {
    Fixture fixture({.micro_batch_tokens = 32, .router_aux_loss = coefficient}, {.max_grad_norm = 0.0},
                    tiny_mixtral());
    const auto metrics = fixture.trainer.step(examples);
    loss = metrics.at("loss");
    aux_loss = metrics.at("aux_loss");
    return router_grad(fixture);
  };
  double loss = 0, weighted_loss = 0, twice_loss = 0, aux_loss = 0, ignored = 0;
  const auto plain = trained(0.0, loss, aux_loss);
  const auto weighted = trained(0.5, weighted_loss, ignored);
  EXPECT_EQ(ignored, aux_loss);  // before the coefficient
  const auto twice = trained(1.0, twice_loss, ignored);
  EXPECT_GE(aux_loss, 0.9);  // about 1 when balanced
  EXPECT_LE(aux_loss, 2.0);  // all tokens to the same two of four experts
  EXPECT_NEAR(weighted_loss, loss + 0.5 * aux_loss, 1e-5);
  EXPECT_NEAR(twice_loss, loss + aux_loss, 1e-5);
  const auto added = weighted - plain;
  EXPECT_GT(added.norm().item<double>(), 1e-4);
  EXPECT_LE((twice - plain - 2 * added).norm().item<double>(), 1e-4 * added.norm().item<double>());
}

TEST(SftTrainer, ReportsNoBalancingLossWithoutExperts) {
  Fixture fixture({.router_aux_loss = 0.5});
  EXPECT_FALSE(fixture.trainer.step(random_examples(2, 4)).contains("aux_loss"));
}

TEST(SftTrainer, MovesTheAdapterAlone) {
  auto network = tiny_network();
  network->add_adapter({.rank = 2}, /*seed=*/1);
  const auto weights = network->flat().clone(), adapter = network->trained().flat().clone();
  const auto examples = random_examples(4, 4);
  Fixture fixture({}, {.lr = 0.01, .weight_decay = 0.1}, std::move(network));
  const double first = fixture.trainer.step(examples).at("loss");
  double last = 0.0;
  for (int64_t step = 1; step < 8; ++step) last = fixture.trainer.step(examples).at("loss");
  EXPECT_LT(last, first - 0.01);
  EXPECT_TRUE(at::equal(fixture.network->flat(), weights));
  for (const auto& [name, tensor] : fixture.network->parameters()) {
    EXPECT_FALSE(tensor.grad().defined()) << name;
  }
  int64_t moved = 0;
  for (size_t i = 0; i < fixture.network->trained().slots().size(); ++i) {
    const auto& slot = fixture.network->trained().slots()[i];
    const auto before = adapter.narrow(0, slot.offset, slot.count).view(slot.shape);
    if (!at::equal(fixture.network->trained()[i], before)) ++moved;
  }
  EXPECT_EQ(moved, std::ssize(fixture.network->trained().slots()));
  for (const auto& [name, tensor] : fixture.optimizer.state()) {
    EXPECT_LE(tensor.numel(), adapter.numel()) << name;  // moments of A and B alone
  }
}

}  // namespace
}  // namespace sluice::sft
