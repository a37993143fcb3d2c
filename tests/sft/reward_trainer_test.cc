#include "sft/reward_trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/philox.h"
#include "model/scalar_head.h"
#include "tests/float16_step.h"
#include "tests/step_gradient.h"
#include "tests/tiny_network.h"

namespace sluice::sft {
namespace {

std::vector<ComparedPair> random_pairs(int count, uint64_t seed) {
  uint64_t draws = 0;
  const auto up_to = [&](int n) {
    return static_cast<int32_t>(random_uniform(seed, RandomUse::Data, 1, 0, draws++) * n);
  };
  const auto tokens = [&](int longest) {
    std::vector<int32_t> all;
    for (int n = 1 + up_to(longest); n > 0; --n) all.push_back(up_to(23));
    return all;
  };
  std::vector<ComparedPair> pairs;
  for (int i = 0; i < count; ++i) {
    pairs.push_back(
        {.prompt = tokens(6), .chosen = tokens(9), .rejected = tokens(9), .margin = 0.1 * up_to(5)});
  }
  return pairs;
}

std::unique_ptr<model::Network> scorer() { return model::with_scalar_head(*tiny_network(), 5); }

struct Fixture {
  explicit Fixture(const RewardOptions& options,
                   const optim::OptimizerOptions& update = {.max_grad_norm = 0.0},
                   std::unique_ptr<model::Network> trained = scorer())
      : network(std::move(trained)),
        optimizer(*network, collective, update, /*total_steps=*/1000),
        trainer(*network, optimizer, options) {}

  transport::SoloCollective collective;
  std::unique_ptr<model::Network> network;
  optim::Optimizer optimizer;
  RewardTrainer trainer;
};

double score(const model::Network& network, std::vector<int32_t> tokens, const std::vector<int32_t>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
  model::PackedBatchBuilder builder;
  builder.add(tokens);
  return network.scores(builder.build(at::kCPU), at::tensor({std::ssize(tokens) - 1}, at::kLong))
      .item<double>();
}

TEST(RewardTrainer, HasTheSameGradientHoweverThePairsArePacked) {
  const auto pairs = random_pairs(12, /*seed=*/3);
  at::Tensor whole;
  double loss = 0.0;
  for (const int64_t rows : {1 << 20, 60, 17, 1}) {  // 1: every pair in a pack of its own
    Fixture fixture({.micro_batch_tokens = rows, .loss = {.center_coefficient = 0.1}});
    const auto metrics = fixture.trainer.step(pairs);
    const auto grad = step_gradient(fixture.optimizer);
    if (!whole.defined()) {
      whole = grad;
      loss = metrics.at("loss");
    }
    EXPECT_LE((grad - whole).norm().item<double>(), 1e-5 * whole.norm().item<double>()) << rows;
    EXPECT_NEAR(metrics.at("loss"), loss, 1e-5);
  }
}

TEST(RewardTrainer, ScoresEachCompletionAtItsLastTokenAndCountsWhatTheScoresSay) {
  Fixture fixture({});
  const ComparedPair first{.prompt = {3, 1}, .chosen = {4, 1, 5}, .rejected = {9}, .margin = 0.5};
  const ComparedPair second{.prompt = {2}, .chosen = {6}, .rejected = {5, 3}};
  std::vector<double> scores;
  for (const auto& pair : {first, second}) {
    scores.push_back(score(*fixture.network, pair.prompt, pair.chosen));
    scores.push_back(score(*fixture.network, pair.prompt, pair.rejected));
  }
  const auto metrics = fixture.trainer.step(std::vector{first, second});

  const auto cost = [](double ahead) { return std::log1p(std::exp(-ahead)); };  // -log sigmoid
  EXPECT_NEAR(metrics.at("loss"), (cost(scores[0] - scores[1] - 0.5) + cost(scores[2] - scores[3])) / 2,
              1e-6);
  EXPECT_NEAR(metrics.at("margin"), (scores[0] - scores[1] + scores[2] - scores[3]) / 2, 1e-6);
  EXPECT_EQ(metrics.at("accuracy"), ((scores[0] > scores[1]) + (scores[2] > scores[3])) / 2.0);
  double mean = 0, squares = 0;
  for (const double each : scores) mean += each / 4;
  for (const double each : scores) squares += (each - mean) * (each - mean) / 4;
  EXPECT_NEAR(metrics.at("mean_reward"), mean, 1e-6);
  EXPECT_NEAR(metrics.at("std_reward"), std::sqrt(squares), 1e-5);
  EXPECT_EQ(metrics.at("num_tokens"), 2 * 2 + 3 + 1 + 2 * 1 + 1 + 2);
}

// The chosen completion is the one that has the token 7 somewhere.
std::vector<ComparedPair> pairs_of_a_rule(int count, uint64_t seed) {
  auto pairs = random_pairs(count, seed);
  for (size_t i = 0; i < pairs.size(); ++i) {
    for (auto* tokens : {&pairs[i].chosen, &pairs[i].rejected}) {
      for (auto& token : *tokens) token = token == 7 ? 8 : token;
    }
    auto& chosen = pairs[i].chosen;
    chosen[i % chosen.size()] = 7;
    pairs[i].margin = 0.0;
  }
  return pairs;
}

TEST(RewardTrainer, LearnsARuleThatHoldsForPairsItHasNotSeen) {
  Fixture fixture({}, {.lr = 1e-2});
  const auto train = pairs_of_a_rule(640, 1), test = pairs_of_a_rule(200, 2);
  const auto before = measure_pairs(*fixture.network, test, 1 << 20);
  for (size_t step = 0; step < 60; ++step) {
    fixture.trainer.step(std::span(train).subspan(step % 20 * 32, 32));
  }
  const auto after = measure_pairs(*fixture.network, test, 1 << 20);
  EXPECT_EQ(after.pairs, 200);
  EXPECT_LT(before.correct, 140);
  EXPECT_GT(after.correct, 190);
  EXPECT_GT(after.margin / 200, 1.0);
  EXPECT_NEAR(measure_pairs(*fixture.network, test, 64).margin, after.margin, 1e-3);
}

TEST(RewardTrainer, ScalesItsLossForProductsOfFloat16) {
  expect_loss_scaled([](model::Rounding products) {
    Fixture fixture({}, {}, with_products(products, scorer()));
    const auto pairs = random_pairs(2, /*seed=*/3);
    return fitted_norm([&] { return fixture.trainer.step(pairs).at("grad_norm"); });
  });
}

TEST(RewardTrainer, RefusesANetworkWithLogitsNoPairsAndWhatHasNoToken) {
  const auto policy = tiny_network();
  transport::SoloCollective collective;
  optim::Optimizer optimizer(*policy, collective, {}, 10);
  EXPECT_THROW(RewardTrainer(*policy, optimizer, {}), Error);
  Fixture fixture({});
  EXPECT_THROW(fixture.trainer.step({}), DataError);
  EXPECT_THROW(
      fixture.trainer.step(std::vector<ComparedPair>{{.prompt = {1}, .chosen = {2}, .rejected = {}}}),
      DataError);
}

}  // namespace
}  // namespace sluice::sft
