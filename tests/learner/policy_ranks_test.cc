// A step on several ranks is that on one: gradient, weights, what is measured, and what is found to be wrong.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <optional>

#include "base/error.h"
#include "learner/critic.h"
#include "learner/policy_learner.h"
#include "model/scalar_head.h"
#include "tests/early_sums.h"
#include "tests/learner/rollouts.h"
#include "tests/rank_steps.h"
#include "tests/spawn_ranks.h"
#include "tests/step_gradient.h"
#include "tests/tiny_network.h"

namespace sluice::learner {
namespace {

using testing::HasSubstr;

constexpr int64_t kSteps = 20;
constexpr int64_t kFewSteps = 5;  // where weights are shared out: each is a hundred small messages

// Recorded log-probs within 0.3 of what an untrained network says, log(1/23): ratios on both sides of clips.
TrainingBatch batch_of_step(uint64_t step) {
  auto groups = random_groups(5, step);
  for (auto& group : groups) {
    for (auto& completion : group.completions) {
      for (auto& logprob : completion.logprobs) logprob = -3.135f + 0.15f * (logprob + 2.0f);
    }
  }
  return make_training_batch(static_cast<int64_t>(step), std::move(groups), {1.0}, {}, /*max_new_tokens=*/16);
}

struct RankCase {
  std::string name;
  PolicyLearnerOptions options;
};

std::vector<RankCase> rank_cases() {
  return {
      {"Plain", {}},
      {"Kl", {.loss = {.beta = 0.1}, .kl_target = 0.01, .kl_horizon = 100}},
      {"KlInReward", {.loss = {.beta = 0.1}, .kl_in_reward = true}},
      {"Sequence", {.loss = {.ratio = RatioLevel::Sequence, .clip_low = 0.05, .clip_high = 0.05}}},
      {"Updates",
       {.loss = {.beta = 0.1},
        .old_policy = OldPolicy::Proximal,
        .epochs = 2,
        .minibatches = 2,
        .target_kl = 10.0}},
      {"Masks", {.moment_threshold = 0.01, .entropy_share = 0.5, .entropy_bonus = 0.01}},
      {"Critic", {.advantage = {.baseline = Baseline::Critic}, .critic_warmup = 2}},
  };
}

// What kSteps steps make of a rank.
struct Outcome {
  at::Tensor first_gradient, weights;
  std::string hash;
  std::vector<StepMetrics> metrics;
};

Outcome learn(const PolicyLearnerOptions& options, transport::Collective& ranks,
              const std::string& shard = "none", int64_t steps = kSteps) {
  const auto network = tiny_network(7);
  const reference::ReferencePolicy reference(tiny_network(8));
  optim::Optimizer optimizer(*network, ranks, {.lr = 1e-3, .shard = shard}, /*total_steps=*/1000);
  std::unique_ptr<model::Network> values;
  std::optional<optim::Optimizer> critic_optimizer;
  std::optional<Critic> critic;
  if (options.advantage.baseline == Baseline::Critic) {
    values = model::with_scalar_head(*network, 3);
    critic_optimizer.emplace(*values, ranks, optim::OptimizerOptions{.lr = 1e-3}, /*total_steps=*/1000);
    critic.emplace(*values, *critic_optimizer, /*clip=*/0.2);
  }
  PolicyLearner learner(*network, &reference, optimizer, options, critic ? &*critic : nullptr);
  Outcome outcome;
  for (int64_t step = 0; step < steps; ++step) {
    outcome.metrics.push_back(learner.step(batch_of_step(static_cast<uint64_t>(step)), step));
    // Before that the policy stays, and nobody adds up what the ranks have for it.
    if (step == options.critic_warmup && shard == "none") outcome.first_gradient = step_gradient(optimizer);
  }
  outcome.hash = optimizer.hash_in_common();
  outcome.weights = shared_weights(*network, optimizer);
  return outcome;
}

std::vector<Outcome> learn_on(int64_t size, const PolicyLearnerOptions& options,
                              const std::string& shard = "none", int64_t steps = kSteps) {
  std::vector<Outcome> outcomes(static_cast<size_t>(size));
  spawn_ranks(size, [&](transport::Collective& ranks) {
    outcomes[static_cast<size_t>(ranks.rank())] = learn(options, ranks, shard, steps);
  });
  return outcomes;
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).norm().item<double>() / b.norm().item<double>();
}

class PolicyRanks : public testing::TestWithParam<RankCase> {};

TEST_P(PolicyRanks, LearnWhatOneLearns) {
  transport::SoloCollective alone;
  const auto whole = learn(GetParam().options, alone);
  for (const int64_t size : {2, 4}) {
    SCOPED_TRACE(size);
    const auto ranks = learn_on(size, GetParam().options);
    EXPECT_LE(difference(ranks[0].first_gradient, whole.first_gradient), 1e-5);
    const auto first = static_cast<size_t>(GetParam().options.critic_warmup);
    const double norm = whole.metrics[first].at("grad_norm");  // by which that gradient is clipped
    EXPECT_NEAR(ranks[0].metrics[first].at("grad_norm"), norm, 1e-5 * norm);
    EXPECT_LE(difference(ranks[0].weights, whole.weights), 1e-5);
    for (const auto& rank : ranks) {
      EXPECT_EQ(rank.hash, ranks[0].hash);
      EXPECT_EQ(rank.metrics, ranks[0].metrics);
    }
    for (const auto& [name, value] : whole.metrics[0]) {
      ASSERT_TRUE(ranks[0].metrics[0].contains(name)) << name;
      EXPECT_NEAR(ranks[0].metrics[0].at(name), value, 1e-4 * std::max(1.0, std::abs(value))) << name;
    }
    EXPECT_EQ(ranks[0].metrics[0].size(), whole.metrics[0].size());
  }
}

INSTANTIATE_TEST_SUITE_P(Every, PolicyRanks, testing::ValuesIn(rank_cases()),
                         [](const auto& named) { return named.param.name; });

// In micro-batches of which not every rank has as many.
TEST(PolicyRanksAgain, LearnTheSameWithAPartOfTheWeightsEach) {
  transport::SoloCollective alone;
  for (auto& [name, options] : rank_cases()) {
    if (name != "Updates" && name != "Masks") continue;  // forwards alone, several updates
    SCOPED_TRACE(name);
    options.micro_batch_tokens = 40;
    const int64_t steps = name == "Masks" ? kSteps : kFewSteps;
    const auto whole = learn(options, alone, "none", steps);
    const auto ranks = learn_on(2, options, "weights", steps);
    EXPECT_LE(difference(ranks[0].weights, whole.weights), 1e-5);
    EXPECT_EQ(ranks[1].hash, ranks[0].hash);
    EXPECT_EQ(ranks[1].metrics, ranks[0].metrics);
  }
}

TEST(PolicyRanksAgain, EndInTheSameBits) {
  const PolicyLearnerOptions options{.loss = {.beta = 0.1}};
  for (const char* shard : {"none", "weights"}) {
    const auto first = learn_on(3, options, shard, kFewSteps), again = learn_on(3, options, shard, kFewSteps);
    EXPECT_TRUE(at::equal(first[0].weights, again[0].weights));
  }
}

// Five groups and four ranks: whoever has the bad one, all of them skip, and all of them name it.
TEST(PolicyRanksAgain, AllFindTheGroupThatOneOfThemHas) {
  auto groups = random_groups(5, /*seed=*/1);
  groups[3].completions[0].logprobs[0] = NAN;
  const auto batch = make_training_batch(0, std::move(groups), {1.0}, {}, /*max_new_tokens=*/16);
  for (const char* shard : {"none", "weights"}) {
    spawn_ranks(4, [&](transport::Collective& ranks) {
      const auto network = tiny_network(7);
      optim::Optimizer optimizer(*network, ranks, {.shard = shard}, /*total_steps=*/10);
      PolicyLearner learner(*network, nullptr, optimizer, {});
      const auto before = network->flat().clone();
      learner.step(batch, 0);
      EXPECT_TRUE(at::equal(shared_weights(*network, optimizer), before));
      ASSERT_EQ(learner.fault().poisoned.size(), 1u);
      EXPECT_THAT(learner.fault().poisoned.at(3), HasSubstr("ratio"));
      EXPECT_FALSE(learner.fault().everywhere);
    });
  }
}

// A critic's gradients are summed behind the policy's, and what may end a step before them.
TEST(PolicyRanksAgain, BeginToSumInTheLastBackwardOfAnUpdate) {
  EarlySums ranks;
  const auto step = [&](const PolicyLearnerOptions& options) {
    const auto network = wide_network();
    optim::Optimizer optimizer(*network, ranks, {}, /*total_steps=*/100);
    const auto values = model::with_scalar_head(*network, 3);
    optim::Optimizer of_values(*values, ranks, {}, /*total_steps=*/100);
    Critic critic(*values, of_values, /*clip=*/0.2);
    const bool has_critic = options.advantage.baseline == Baseline::Critic;
    PolicyLearner learner(*network, nullptr, optimizer, options, has_critic ? &critic : nullptr);
    learner.step(batch_of_step(1), 0);
    return ranks.take();
  };
  const int64_t of_update = step({.micro_batch_tokens = 40});
  EXPECT_GT(of_update, 2);
  EXPECT_EQ(step({.epochs = 2, .micro_batch_tokens = 40}), 2 * of_update);
  EXPECT_EQ(step({.epochs = 2, .target_kl = 10.0, .micro_batch_tokens = 40}), of_update);
  EXPECT_EQ(step({.advantage = {.baseline = Baseline::Critic}, .micro_batch_tokens = 40}), 0);
}

// One group of more rows than an even share: its completions go to both, its prompt with each.
TEST(PolicyRanksAgain, ShareAGroupThatIsAllThereIs) {
  const auto batch = make_training_batch(0, random_groups(1, /*seed=*/2), {1.0}, {}, /*max_new_tokens=*/16);
  int64_t completions = 0;
  std::vector<bool> busy(2);
  for (const auto& micro : cut_into_micro_batches(batch, 1 << 20, at::kCPU, IdleGroups::Keep, kAllGroups,
                                                  /*ranks=*/2)) {
    completions += std::ssize(micro.completions);
    busy[static_cast<size_t>(micro.rank)] = true;
  }
  EXPECT_EQ(completions, std::ssize(batch.groups[0].completions));
  EXPECT_TRUE(busy[0] && busy[1]);
}

}  // namespace
}  // namespace sluice::learner
