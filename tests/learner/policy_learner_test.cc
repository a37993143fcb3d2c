#include "learner/policy_learner.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "tests/float16_step.h"
#include "tests/learner/rollouts.h"
#include "tests/spec_example.h"
#include "tests/split_step.h"
#include "tests/step_gradient.h"
#include "tests/tiny_network.h"

namespace sluice::learner {
namespace {

struct Fixture {
  explicit Fixture(const PolicyLearnerOptions& options,
                   const optim::OptimizerOptions& update = {.max_grad_norm = 0},
                   std::unique_ptr<model::Network> trained = tiny_network())
      : network(std::move(trained)),
        optimizer(*network, collective, update, /*total_steps=*/100),
        reference(tiny_network(/*seed=*/8)),
        learner(*network, &reference, optimizer, options) {}

  at::Tensor grad() const { return step_gradient(optimizer); }

  transport::SoloCollective collective;
  std::unique_ptr<model::Network> network;
  optim::Optimizer optimizer;
  reference::ReferencePolicy reference;
  PolicyLearner learner;
};

TrainingBatch batch_of(std::vector<buffers::RolloutGroup> groups) {
  return make_training_batch(0, std::move(groups), {1.0}, {}, /*max_new_tokens=*/16);
}

// Writes what the network itself gives for the chosen tokens, as an actor of the same weights would.
void record_logprobs(const model::Network& network, std::vector<buffers::RolloutGroup>& groups) {
  const c10::NoGradGuard no_grad;
  for (auto& group : groups) {
    for (auto& completion : group.completions) {
      auto tokens = group.prompt;
      tokens.insert(tokens.end(), completion.tokens.begin(), completion.tokens.end());
      model::PackedBatchBuilder rows;
      rows.add(tokens);
      std::vector<int64_t> row, target;
      for (size_t i = group.prompt.size(); i < tokens.size(); ++i) {
        row.push_back(static_cast<int64_t>(i) - 1);
        target.push_back(tokens[i]);
      }
      const auto out = network.logprobs(rows.build(at::kCPU),
                                        {at::tensor(row, at::kLong), at::tensor(target, at::kLong)}, 1.0);
      const auto* begin = out.logprobs.const_data_ptr<float>();
      completion.logprobs.assign(begin, begin + out.logprobs.numel());
    }
  }
}

TEST(PolicyLearner, HasTheSameGradientHoweverTheStepIsCut) {
  const auto batch = batch_of(random_groups(6, /*seed=*/5));
  for (const auto mode : {Aggregation::TokenMean, Aggregation::SeqMeanTokenMean, Aggregation::SeqMeanTokenSum,
                          Aggregation::SeqMeanTokenSumNorm}) {
    at::Tensor whole_grad;
    double whole_loss = 0.0;
    for (const int64_t rows : {1 << 20, 90, 40, 1}) {
      Fixture fixture({.loss = {.beta = 0.1}, .aggregation = mode, .micro_batch_tokens = rows});
      const auto metrics = fixture.learner.step(batch, 0);
      const auto grad = fixture.grad();
      if (!whole_grad.defined()) {
        whole_grad = grad;
        whole_loss = metrics.at("loss");
        EXPECT_GT(grad.norm().item<double>(), 1e-4);
      }
      EXPECT_LE((grad - whole_grad).norm().item<double>(), 1e-5 * whole_grad.norm().item<double>());
      EXPECT_NEAR(metrics.at("loss"), whole_loss, 1e-5 * std::max(1.0, std::abs(whole_loss)));
    }
  }
}

TEST(PolicyLearner, DoesNotDependOnTheOrderOfGroupsAndCompletions) {
  auto groups = random_groups(4, /*seed=*/6);
  Fixture forward({}), backward({});
  forward.learner.step(batch_of(groups), 0);
  std::ranges::reverse(groups);
  for (auto& group : groups) std::ranges::reverse(group.completions);
  backward.learner.step(batch_of(groups), 0);
  const auto grad = forward.grad();
  EXPECT_LE((backward.grad() - grad).norm().item<double>(), 1e-5 * grad.norm().item<double>());
}

TEST(PolicyLearner, GivesTheSameBitsTwice) {
  Fixture first({}), second({});
  for (uint64_t step = 0; step < 3; ++step) {
    const auto batch = batch_of(random_groups(4, step));
    EXPECT_EQ(first.learner.step(batch, 0), second.learner.step(batch, 0));
  }
  EXPECT_TRUE(at::equal(first.network->flat(), second.network->flat()));
}

TEST(PolicyLearner, ScalesItsLossForProductsOfFloat16) {
  expect_loss_scaled([](model::Rounding products) {
    Fixture fixture({.loss = {.beta = 0.1}}, {}, with_products(products, tiny_network()));
    return fixture.learner.step(batch_of(random_groups(2, /*seed=*/5)), 0).at("grad_norm");
  });
}

TEST(PolicyLearner, OnPolicyItSeesRatiosOfOneAndNoClipping) {
  Fixture fixture({.micro_batch_tokens = 48});
  auto groups = random_groups(4, /*seed=*/9);
  record_logprobs(*fixture.network, groups);
  const auto metrics = fixture.learner.step(batch_of(groups), /*version=*/0);

  EXPECT_LE(metrics.at("logprob_diff/max"), 1e-5);
  EXPECT_LE(metrics.at("sampling/logp_diff_max"), 1e-5);
  EXPECT_NEAR(metrics.at("ratio/mean"), 1.0, 1e-5);
  EXPECT_EQ(metrics.at("clip_ratio/region_mean"), 0.0);
  EXPECT_EQ(metrics.at("staleness/max"), 0.0);
  EXPECT_NEAR(metrics.at("entropy"), std::log(23.0), 0.05);  // a network that has learned nothing
  EXPECT_FALSE(metrics.contains("kl"));
  EXPECT_GT(metrics.at("grad_norm"), 0.0);
  EXPECT_EQ(metrics.at("learning_rate"), 1e-6);
}

TEST(PolicyLearner, TellsEngineMismatchFromStaleness) {
  Fixture fixture({});
  auto groups = random_groups(2, /*seed=*/9);
  record_logprobs(*fixture.network, groups);
  for (auto& completion : groups[1].completions) {  // one version behind, and off by 0.5
    completion.versions.assign(completion.versions.size(), 3);
    for (auto& logprob : completion.logprobs) logprob -= 0.5f;
  }
  for (auto& completion : groups[0].completions) completion.versions.assign(completion.versions.size(), 4);
  const auto metrics = fixture.learner.step(batch_of(groups), /*version=*/4);

  EXPECT_LE(metrics.at("logprob_diff/max"), 1e-5);
  EXPECT_LE(metrics.at("mismatch_kl"), 1e-9);
  EXPECT_NEAR(metrics.at("sampling/logp_diff_max"), 0.5, 1e-5);
  EXPECT_NEAR(metrics.at("ratio/max"), std::exp(0.5), 1e-4);
  EXPECT_EQ(metrics.at("staleness/max"), 1.0);
  EXPECT_GT(metrics.at("clip_ratio/high_mean"), 0.0);
}

// The group that was recorded 0.5 too low: each of its tokens, those of the other not.
TEST(PolicyLearner, KeepsTheLogRatioOfEveryChosenToken) {
  Fixture fixture({.epochs = 2, .micro_batch_tokens = 48});
  auto groups = random_groups(2, /*seed=*/9);
  record_logprobs(*fixture.network, groups);
  for (auto& completion : groups[1].completions) {
    for (auto& logprob : completion.logprobs) logprob -= 0.5f;
  }
  fixture.learner.step(batch_of(groups), /*version=*/0);

  size_t completions = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t i = 0; i < groups[g].completions.size(); ++i) {
      const auto found = fixture.learner.log_ratios().find({g, i});
      if (found == fixture.learner.log_ratios().end()) continue;  // of a group without a gradient
      ++completions;
      ASSERT_EQ(std::ssize(found->second), std::ranges::count(groups[g].completions[i].mask, uint8_t{1}));
      for (const float ratio : found->second) EXPECT_NEAR(ratio, g == 1 ? 0.5 : 0.0, 1e-5);
    }
  }
  EXPECT_GE(completions, groups[0].completions.size());
}

// Off by 0.5 at every token: ratios of exp(0.5) = 1.65, past the clip where the advantage is positive and
// past the dual clip where it is negative.
TEST(PolicyLearner, MeasuresTheMismatchAndWhatWasClippedOfEachSequence) {
  Fixture fixture({.loss = {.dual_clip = 1.5}});
  auto groups = random_groups(2, /*seed=*/9);
  record_logprobs(*fixture.network, groups);
  for (auto& group : groups) {
    for (auto& completion : group.completions) {
      for (auto& logprob : completion.logprobs) logprob -= 0.5f;
    }
  }
  auto metrics = fixture.learner.step(batch_of(groups), /*version=*/0);
  EXPECT_NEAR(metrics.at("mismatch_kl"), std::exp(0.5) - 1.5, 1e-4);
  EXPECT_EQ(metrics.at("clip_ratio/high_max"), 1.0);
  EXPECT_EQ(metrics.at("clip_ratio/low_min"), 0.0);
  EXPECT_NEAR(metrics.at("clip_ratio/high_mean") + metrics.at("clip_ratio/dual"), 1.0, 1e-12);

  EXPECT_FALSE(Fixture({}).learner.step(batch_of(groups), 0).contains("clip_ratio/dual"));
}

// Advantages 0.5 and -0.5, means over sequences of three and one token: the loss is (-0.9 * 0.5 + 0.5) / 2.
TEST(PolicyLearner, WeighsATokenByTheMassThatItsSamplingKept) {
  Fixture fixture({});
  std::vector<buffers::RolloutGroup> groups = {
      group_of({1, 3}, {completion_of({5, 6, 7}, 1.0), completion_of({9}, 0.0)})};
  record_logprobs(*fixture.network, groups);
  groups[0].completions[0].kept_mass = {0.9f, 0.9f, 0.9f};
  const auto metrics = fixture.learner.step(
      make_training_batch(0, groups, {1.0}, {.scale = AdvantageScale::None}, /*max_new_tokens=*/16), 0);

  EXPECT_NEAR(metrics.at("policy_loss"), 0.025, 1e-5);
  EXPECT_NEAR(metrics.at("ratio/min"), 0.9, 1e-5);
  EXPECT_NEAR(metrics.at("ratio/mean"), 0.925, 1e-5);  // (3 * 0.9 + 1) / 4
  EXPECT_LE(metrics.at("logprob_diff/max"), 1e-5);     // of the recorded log-probs
  EXPECT_LE(metrics.at("mismatch_kl"), 1e-9);
}

// Advantages 1/2, 0 and -1/2; the last was cut. Its sequence counts, or does not.
TEST(PolicyLearner, DividesByTheSequencesItIsToldToCount) {
  auto cut = completion_of({9}, 0.0);
  cut.finish = buffers::FinishReason::Length;
  for (const auto counted : {SequenceDenominator::All, SequenceDenominator::NonEmpty}) {
    Fixture fixture({.seq_denominator = counted});
    std::vector<buffers::RolloutGroup> groups = {
        group_of({1, 3}, {completion_of({5, 6}, 1.0), completion_of({7}, 0.5), cut})};
    record_logprobs(*fixture.network, groups);
    const auto metrics = fixture.learner.step(
        make_training_batch(0, groups, {1.0}, {.scale = AdvantageScale::None, .mask_truncated = true}, 16),
        0);
    EXPECT_NEAR(metrics.at("policy_loss"), counted == SequenceDenominator::All ? -0.5 / 3 : -0.5 / 2, 1e-5);
    EXPECT_EQ(metrics.at("advantages/min"), 0.0);
    EXPECT_EQ(rollout_metrics(make_training_batch(0, groups, {1.0}, {.mask_truncated = true}, 16), {})
                  .at("completions/min_length"),
              1.0);
  }
}

TEST(PolicyLearner, MeasuresTheKlAgainstTheReference) {
  Fixture fixture({.loss = {.beta = 0.5, .kl = KlEstimator::K3}});
  auto groups = random_groups(3, /*seed=*/2);
  record_logprobs(*fixture.network, groups);
  const auto metrics = fixture.learner.step(batch_of(groups), 0);
  EXPECT_GT(metrics.at("kl"), 0.0);
  EXPECT_GT(metrics.at("loss"), metrics.at("policy_loss"));
  fixture.reference.check_unmoved();
}

TEST(PolicyLearner, LeavingOutGroupsWithoutAdvantageChangesNoGradient) {
  auto groups = random_groups(4, /*seed=*/12);
  for (auto& completion : groups[2].completions) completion.outcomes = {rewards::RewardOutcome::scored(1.0)};
  const auto batch = batch_of(groups);
  Fixture fixture({.aggregation = Aggregation::TokenMean});
  const auto metrics = fixture.learner.step(batch, 0);
  const auto grad = fixture.grad();

  // The same loss with every group in the pack.
  const auto all = cut_into_micro_batches(batch, 1 << 20, at::kCPU).front();
  const auto network = tiny_network();
  const auto out = network->logprobs(all.batch, all.targets, 1.0);
  const auto loss =
      policy_loss({.logprobs = out.logprobs,
                   .old_logprobs = all.behaviour_logprobs,
                   .ref_logprobs = {},
                   .advantages = all.advantages,
                   .weights = aggregation_weights(Aggregation::TokenMean, all.lengths, batch.denominators)});
  loss.loss.backward();

  EXPECT_LE((gradient_of(*network) - grad).norm().item<double>(), 1e-5 * grad.norm().item<double>());
  EXPECT_NEAR(metrics.at("loss"), loss.loss.item<double>(), 1e-6);
  EXPECT_NEAR(metrics.at("clip_ratio/low_mean"),
              loss.sums.clipped_low / static_cast<double>(batch.denominators.tokens), 1e-12);
}

// Next to no advantage keeps a group in the pack.
TEST(PolicyLearner, KeepsAGroupWithoutAdvantageWhereItHasAGradientAllTheSame) {
  PolicyLearnerOptions discounts{.gamma = 0.9};
  discounts.advantage.baseline = Baseline::None;
  const std::vector<PolicyLearnerOptions> variants = {{.loss = {.beta = 0.1}},
                                                      {.loss = {.surrogate = Surrogate::TrustRegion}},
                                                      {.entropy_bonus = 0.1},
                                                      {.moment_threshold = 0.5},
                                                      {.entropy_share = 0.5},
                                                      {.router_aux_loss = 0.5},
                                                      discounts};
  auto batch = batch_of(random_groups(4, /*seed=*/12));
  for (size_t i = 0; i < variants.size(); ++i) {
    const auto gradient = [&](double advantage) {
      std::ranges::fill(batch.advantages[2], advantage);
      Fixture fixture(variants[i], {.max_grad_norm = 0},
                      variants[i].router_aux_loss > 0.0 ? tiny_mixtral() : tiny_network());
      fixture.learner.step(batch, 0);
      return fixture.grad();
    };
    const auto expected = gradient(1e-12);
    EXPECT_LE((gradient(0.0) - expected).norm().item<double>(), 1e-5 * expected.norm().item<double>())
        << "variant " << i;
  }
}

TEST(PolicyLearner, AStepWithoutAnySignalUpdatesWithAZeroGradientAndSaysSo) {
  Fixture fixture({});
  const auto metrics =
      fixture.learner.step(batch_of({group_of({1}, {completion_of({5}, 1.0), completion_of({6}, 1.0)})}), 0);
  EXPECT_EQ(metrics.at("loss"), 0.0);
  EXPECT_EQ(metrics.at("grad_norm"), 0.0);
  EXPECT_EQ(metrics.at("advantages/max"), 0.0);
  EXPECT_FALSE(metrics.contains("entropy"));
  EXPECT_EQ(fixture.optimizer.num_steps(), 1);
}

TEST(PolicyLearner, AStepWithoutAChosenTokenIsNoStep) {
  Fixture fixture({});
  auto masked = completion_of({5, 6}, 1.0);
  masked.mask = {0, 0};
  const auto metrics = fixture.learner.step(batch_of({group_of({1}, {masked, masked})}), 0);
  EXPECT_EQ(metrics.at("loss"), 0.0);
  EXPECT_FALSE(metrics.contains("grad_norm"));
  EXPECT_EQ(fixture.optimizer.num_steps(), 0);
}

TEST(PolicyLearner, RaisesTheProbabilityOfWhatWasRewarded) {
  Fixture fixture({}, {.lr = 3e-3});
  const std::vector<int32_t> good = {5, 6, 7}, bad = {9, 10, 11};
  const auto reward_gap = [&] {
    std::vector<buffers::RolloutGroup> groups = {
        group_of({1, 3}, {completion_of(good, 1.0), completion_of(bad, 0.0)})};
    record_logprobs(*fixture.network, groups);
    double gap = 0.0;
    for (size_t i = 0; i < 3; ++i) {
      gap += static_cast<double>(groups[0].completions[0].logprobs[i] - groups[0].completions[1].logprobs[i]);
    }
    return std::pair(gap, groups);
  };
  const double before = reward_gap().first;
  for (int64_t version = 0; version < 5; ++version)
    fixture.learner.step(batch_of(reward_gap().second), version);
  EXPECT_GT(reward_gap().first, before + 0.1);
}

TEST(PolicyLearner, SkipsAnUpdateWhoseGradientIsNotFinite) {
  Fixture fixture({});
  auto groups = random_groups(2, /*seed=*/1);
  groups[0].completions[0].logprobs[0] = NAN;
  const auto before = fixture.network->flat().clone();
  const auto metrics = fixture.learner.step(batch_of(groups), 0);
  EXPECT_EQ(metrics.at("nonfinite_skips"), 1.0);
  EXPECT_TRUE(at::equal(fixture.network->flat(), before));
  const auto& fault = fixture.learner.fault();
  EXPECT_EQ(fault.cause, "the ratio of a token is not finite");
  EXPECT_EQ(fault.poisoned, (std::map<size_t, std::string>{{0, fault.cause}}));
  EXPECT_FALSE(fault.everywhere);

  fixture.learner.step(batch_of(random_groups(2, /*seed=*/1)), 0);
  EXPECT_EQ(fixture.learner.fault().cause, "");
  EXPECT_FALSE(at::equal(fixture.network->flat(), before));
}

TEST(PolicyLearner, BlamesNoGroupWhereEveryOneIsBad) {
  Fixture fixture({});
  {
    const c10::NoGradGuard no_grad;
    fixture.network->flat().fill_(NAN);
  }
  fixture.learner.step(batch_of(random_groups(3, /*seed=*/1)), 0);
  EXPECT_TRUE(fixture.learner.fault().everywhere);
  EXPECT_TRUE(fixture.learner.fault().poisoned.empty());
  EXPECT_EQ(fixture.learner.fault().cause,
            "the log-prob of a token is not finite, or above 0 in every group");
}

TEST(PolicyLearner, BlamesAGroupForARewardThatFloat32DoesNotHold) {
  auto groups = random_groups(3, /*seed=*/1);
  groups[1].completions[2].outcomes = {rewards::RewardOutcome::scored(1e39)};
  Fixture fixture({});
  fixture.learner.step(make_training_batch(0, std::move(groups), {1.0}, {.scale = AdvantageScale::None}, 16),
                       0);
  EXPECT_EQ(fixture.learner.fault().poisoned.size(), 1u);
  EXPECT_TRUE(fixture.learner.fault().poisoned.contains(1));
}

TEST(PolicyLearner, AFaultEndsTheStep) {
  Fixture fixture({.epochs = 3, .minibatches = 2});
  auto groups = random_groups(4, /*seed=*/1);
  groups[3].completions[0].logprobs[0] = NAN;  // in the second update
  const auto metrics = fixture.learner.step(batch_of(groups), 0);
  EXPECT_EQ(metrics.at("updates"), 2.0);
  EXPECT_EQ(fixture.optimizer.num_steps(), 2);
  EXPECT_TRUE(fixture.learner.fault().poisoned.contains(3));
}

// The other rank's gradient is not finite, and nothing here is wrong.
class BadNeighbour final : public transport::Collective {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 2; }
  void all_reduce_sum(at::Tensor& tensor) override {
    if (tensor.scalar_type() == at::kFloat) tensor += NAN;
  }
  void broadcast(at::Tensor&, int64_t /*root*/) override {}  // the other has the same
};

TEST(PolicyLearner, SkipsAStepThatAnotherRankSkips) {
  BadNeighbour ranks;
  const auto network = tiny_network();
  optim::Optimizer optimizer(*network, ranks, {}, 100);
  PolicyLearner learner(*network, nullptr, optimizer, {});
  const auto before = network->flat().clone();
  learner.step(batch_of(random_groups(2, /*seed=*/1)), 0);
  EXPECT_TRUE(at::equal(network->flat(), before));
  EXPECT_EQ(learner.fault().cause, "the gradient is not finite");
  EXPECT_TRUE(learner.fault().poisoned.empty());
}

TEST(PolicyLearner, LeavesTheRestOfItsUpdatesWhenItHasGoneFarEnough) {
  for (const double target : {0.0, 1e-9, 1e9}) {
    Fixture fixture({.epochs = 3, .target_kl = target}, {.lr = 1e-2});
    auto groups = random_groups(4, /*seed=*/9);
    record_logprobs(*fixture.network, groups);
    const auto metrics = fixture.learner.step(batch_of(groups), 0);
    EXPECT_EQ(metrics.at("updates"), target == 1e-9 ? 1.0 : 3.0) << target;
    EXPECT_EQ(fixture.learner.fault().cause, "");
  }
}

TEST(PolicyLearner, BetaFollowsTheKl) {
  for (const bool in_reward : {false, true}) {
    Fixture fixture({.loss = {.beta = 0.1}, .kl_in_reward = in_reward, .kl_target = 1e-9, .kl_horizon = 100});
    const auto batch = batch_of(random_groups(4, /*seed=*/3));
    const auto first = fixture.learner.step(batch, 0);
    EXPECT_EQ(first.at("kl_coef"), 0.1);
    // Sixteen completions, a fifth of error at most; k1 can be below the target.
    const double error = first.at("kl/sequence_mean") > 0 ? 0.2 : -0.2;
    auto bad = random_groups(4, /*seed=*/3);
    bad[0].completions[0].logprobs[0] = NAN;
    EXPECT_NEAR(fixture.learner.step(batch_of(bad), 0).at("kl_coef"), 0.1 * (1 + error * 16 / 100), 1e-12);
    EXPECT_NEAR(fixture.learner.coefficients().kl(), 0.1 * (1 + error * 16 / 100),
                1e-12);  // it learned nothing
  }
}

TEST(PolicyLearner, TheKlThatBetaFollowsIsAMeanOfMeans) {
  Fixture fixture({.loss = {.beta = 0.1, .kl = KlEstimator::K1}, .micro_batch_tokens = 20});
  const auto one = fixture.learner.step(
      batch_of({group_of({1, 2}, {completion_of({3}, 0.0), completion_of({4, 5, 6}, 1.0)})}), 0);
  Fixture short_one({.loss = {.beta = 0.1, .kl = KlEstimator::K1}});
  Fixture long_one({.loss = {.beta = 0.1, .kl = KlEstimator::K1}});
  const double a =
      short_one.learner.step(batch_of({group_of({1, 2}, {completion_of({3}, 0.0)})}), 0).at("kl");
  const double b =
      long_one.learner.step(batch_of({group_of({1, 2}, {completion_of({4, 5, 6}, 1.0)})}), 0).at("kl");
  EXPECT_NEAR(one.at("kl/sequence_mean"), (a + b) / 2, 1e-6);
  EXPECT_NEAR(one.at("kl"), (a + 3 * b) / 4, 1e-6);
}

TEST(PolicyLearner, TheEntropyBonusFollowsTheEntropy) {
  Fixture fixture({.entropy_target = 10});  // ln 23 is below
  const auto batch = batch_of(random_groups(4, /*seed=*/3));
  EXPECT_EQ(fixture.learner.step(batch, 0).at("entropy_coef"), 0.0);
  EXPECT_EQ(fixture.learner.step(batch, 0).at("entropy_coef"), 0.005);
  EXPECT_EQ(fixture.learner.step(batch, 0).at("entropy_coef"), 0.01);
}

TEST(PolicyLearner, RefusesAKlTermWithoutAReferenceAndGreedySampling) {
  Fixture fixture({});
  EXPECT_THROW(PolicyLearner(*fixture.network, nullptr, fixture.optimizer, {.loss = {.beta = 0.1}}), Error);
  EXPECT_THROW(PolicyLearner(*fixture.network, nullptr, fixture.optimizer, {.temperature = 0.0}), Error);
}

TEST(RolloutMetrics, AreThoseOfTheSpecification) {
  const Json& example = spec_example("metrics_completion");
  const auto lengths = example["inputs"]["completion_lengths"].get<std::vector<size_t>>();
  const auto stopped = example["inputs"]["ends_with_eos"].get<std::vector<bool>>();
  const auto values = example["inputs"]["rewards"].get<std::vector<double>>();
  const auto ids = example["inputs"]["group_ids"].get<std::vector<size_t>>();
  std::vector<buffers::RolloutGroup> groups(2, group_of({1, 2}, {}));
  for (size_t i = 0; i < lengths.size(); ++i) {
    auto completion = completion_of(std::vector<int32_t>(lengths[i], 5), values[i]);
    completion.finish = stopped[i] ? buffers::FinishReason::Stop : buffers::FinishReason::Length;
    groups[ids[i]].completions.push_back(completion);
  }

  const auto metrics = rollout_metrics(batch_of(groups), {"exact"});

  for (const auto& [name, value] : example["expected"].items()) {
    ASSERT_TRUE(metrics.contains(name)) << name;
    EXPECT_NEAR(metrics.at(name), value.get<double>(), 1e-12) << name;
  }
  EXPECT_EQ(metrics.at("rewards/exact/mean"), 0.75);
  EXPECT_EQ(metrics.at("rewards/exact/unscored"), 0.0);
  EXPECT_EQ(metrics.at("rewards/exact/unscored_rate"), 0.0);
  EXPECT_FALSE(metrics.contains("tools/calls"));
  EXPECT_FALSE(metrics.contains("rewards/exact/cached"));
  EXPECT_EQ(metrics.at("num_tokens"), 4 * 2 + 10);
}

TEST(RolloutMetrics, CountUnscoredCompletionsAndLeaveThemOutOfMeans) {
  const auto batch = batch_of({group_of({1}, {completion_of({5}, std::nullopt), completion_of({6}, 0.5)}),
                               group_of({1}, {completion_of({5}, std::nullopt)})});
  const auto metrics = rollout_metrics(batch, {"judge"});
  EXPECT_EQ(metrics.at("rewards/judge/unscored"), 2.0);
  EXPECT_DOUBLE_EQ(metrics.at("rewards/judge/unscored_rate"), 2.0 / 3.0);
  EXPECT_EQ(metrics.at("rewards/judge/mean"), 0.5);
  EXPECT_EQ(metrics.at("reward"), 0.5);
  EXPECT_EQ(metrics.at("frac_reward_zero_std"), 1.0);
}

TEST(RolloutMetrics, CountCallsAndScoresThatWereKnown) {
  std::vector<buffers::RolloutGroup> groups(2, group_of({1}, {completion_of({5}, 0.5)}));
  groups[0].tools = buffers::ToolWatch{.calls = 5, .failed = 2, .seconds = 0.5};
  groups[0].scorers = {{.cached = 3}};
  groups[1].tools = buffers::ToolWatch{.calls = 1, .failed = 0, .seconds = 0.25};
  groups[1].scorers = {{.cached = 1}};
  const auto metrics = rollout_metrics(batch_of(groups), {"judge"});
  EXPECT_EQ(metrics.at("tools/calls"), 6.0);
  EXPECT_EQ(metrics.at("tools/failed"), 2.0);
  EXPECT_EQ(metrics.at("tools/time"), 0.75);
  EXPECT_EQ(metrics.at("rewards/judge/cached"), 4.0);
}

TEST(RolloutMetrics, SayHowMuchIsSaidAgain) {
  const auto repetition = [](std::vector<int32_t> tokens) {
    return rollout_metrics(batch_of({group_of({1}, {completion_of(std::move(tokens), 1.0)})}), {})
        .at("completions/repetition");
  };
  EXPECT_EQ(repetition({5, 5, 5}), 0.0);  // shorter than a run of four
  EXPECT_EQ(repetition({1, 2, 3, 4, 5, 6, 7, 8}), 0.0);
  EXPECT_EQ(repetition({5, 5, 5, 5, 5, 5, 5}), 0.75);    // one of four runs is new
  EXPECT_EQ(repetition({1, 2, 3, 4, 1, 2, 3, 4}), 0.2);  // 1 2 3 4 of five
}

TEST(RolloutMetrics, SayHowLongAScorerTookForAGroupAndByHowMuchItMoved) {
  std::vector<buffers::RolloutGroup> groups;
  for (int i = 1; i <= 20; ++i) {
    groups.push_back(group_of({1}, {completion_of({5}, 0.5), completion_of({6}, 0.0)}));
    groups.back().scorers = {{.seconds = 0.1 * (21 - i)}};
  }
  EXPECT_FALSE(rollout_metrics(batch_of(groups), {"judge"}).contains("rewards/judge/canary_error"));
  groups[3].scorers[0].canary_error = 0.25;
  groups[7].scorers[0].canary_error = 0.0;
  const auto metrics = rollout_metrics(batch_of(groups), {"judge"});
  EXPECT_DOUBLE_EQ(metrics.at("rewards/judge/seconds_p50"), 1.0);
  EXPECT_DOUBLE_EQ(metrics.at("rewards/judge/seconds_p95"), 1.9);
  EXPECT_EQ(metrics.at("rewards/judge/canary_error"), 0.25);
}

TEST(PolicyLearner, AddsTheBalancingLossOfARouter) {
  const auto batch = batch_of(random_groups(3, /*seed=*/5));
  const auto learned = [&](double coefficient, StepMetrics& metrics) {
    Fixture fixture({.micro_batch_tokens = 64, .router_aux_loss = coefficient}, {.max_grad_norm = 0},
                    tiny_mixtral());
    metrics = fixture.learner.step(batch, 0);
    return fixture.grad();
  };
  StepMetrics plain, weighted;
  const auto grad = learned(0.0, plain), with = learned(0.5, weighted);
  EXPECT_GE(plain.at("aux_loss"), 0.9);  // about 1 when balanced
  EXPECT_EQ(weighted.at("aux_loss"), plain.at("aux_loss"));
  EXPECT_NEAR(weighted.at("loss"), plain.at("loss") + 0.5 * plain.at("aux_loss"), 1e-5);
  EXPECT_EQ(weighted.at("policy_loss"), plain.at("policy_loss"));
  EXPECT_GT((with - grad).norm().item<double>(), 1e-4);
  Fixture dense({.router_aux_loss = 0.5});
  EXPECT_FALSE(dense.learner.step(batch, 0).contains("aux_loss"));
}

TEST(PolicyLearner, MovesAnAdapterAlone) {
  auto network = tiny_network();
  network->add_adapter({.rank = 2}, /*seed=*/1);
  const auto weights = network->flat().clone(), merged = network->merged_flat().clone();
  Fixture fixture({.loss = {.beta = 0.1}}, {.lr = 0.01}, std::move(network));
  for (uint64_t step = 0; step < 3; ++step) fixture.learner.step(batch_of(random_groups(3, step)), 0);
  EXPECT_TRUE(at::equal(fixture.network->flat(), weights));
  EXPECT_FALSE(at::equal(fixture.network->merged_flat(), merged));
}

// A batch of an older policy: recorded log-probs that are not the network's.
TrainingBatch stale_batch(const AdvantageOptions& options = {}) {
  return make_training_batch(0, random_groups(6, /*seed=*/5), {1.0}, options, /*max_new_tokens=*/16);
}

struct Variant {
  const char* name;
  PolicyLearnerOptions options;
};

class EveryVariant : public testing::TestWithParam<Variant> {};

// Promise 7, for every loss, correction and mask: those that look at the whole step too.
TEST_P(EveryVariant, HasTheSameGradientHoweverTheStepIsCut) {
  at::Tensor whole;
  for (const int64_t rows : {1 << 20, 40, 1}) {
    auto options = GetParam().options;
    options.micro_batch_tokens = rows;
    Fixture fixture(options, {.lr = 0.0, .max_grad_norm = 0});
    const auto metrics = fixture.learner.step(stale_batch(options.advantage), /*version=*/4);
    const auto grad = fixture.grad();
    EXPECT_TRUE(std::isfinite(metrics.at("loss")));
    if (!whole.defined()) whole = grad;
    EXPECT_GT(whole.norm().item<double>(), 1e-6);
    EXPECT_LE((grad - whole).norm().item<double>(), 1e-5 * whole.norm().item<double>());
  }
}

constexpr auto kProximal = OldPolicy::Proximal;
INSTANTIATE_TEST_SUITE_P(
    Losses, EveryVariant,
    testing::Values(
        Variant{"Cispo", {.loss = {.surrogate = Surrogate::WeightClip}}},
        Variant{"Sapo", {.loss = {.surrogate = Surrogate::SoftGate}}},
        Variant{"Reinforce", {.loss = {.surrogate = Surrogate::Reinforce}}},
        Variant{"Gmpo", {.loss = {.surrogate = Surrogate::GeometricMean}}},
        Variant{"Vespo", {.loss = {.surrogate = Surrogate::GammaWeight}}},
        Variant{"Dppo", {.loss = {.surrogate = Surrogate::TrustRegion}}},
        Variant{"Gspo", {.loss = {.ratio = RatioLevel::Sequence, .clip_low = 0.9, .clip_high = 9}}},
        Variant{"GspoToken", {.loss = {.ratio = RatioLevel::SequenceToken, .clip_low = 0.9, .clip_high = 9}}},
        Variant{"Rloo",
                {.loss = {.ratio = RatioLevel::SequenceSum, .clip_low = 1, .clip_high = 99, .beta = 0.05},
                 .advantage = {.baseline = Baseline::LeaveOneOut},
                 .kl_in_reward = true}},
        Variant{"ReinforcePlusPlus",
                {.loss = {.beta = 0.01},
                 .aggregation = Aggregation::TokenMean,
                 .advantage = {.baseline = Baseline::None, .whitening = Whitening::Tokens},
                 .kl_in_reward = true,
                 .gamma = 0.9}},
        Variant{"Opo", {.advantage = {.baseline = Baseline::LengthWeighted}}},
        Variant{"Tis", {.old_policy = kProximal, .correction = {.kind = Correction::TruncateToken}}},
        Variant{
            "IcePop",
            {.old_policy = kProximal, .correction = {.kind = Correction::MaskToken, .low = 0.1, .high = 9}}},
        Variant{"SequenceMask",
                {.old_policy = kProximal,
                 .correction = {.kind = Correction::MaskSequence, .high = 1e8, .mean_low = 1e-3}}},
        Variant{"Between",
                {.old_policy = OldPolicy::Between, .correction = {.kind = Correction::TruncateToken}}},
        Variant{"MaxSequenceKl", {.max_sequence_kl = 0.1}},
        Variant{"Moments", {.old_policy = kProximal, .moment_threshold = 0.5}},
        Variant{"HighEntropy", {.entropy_share = 0.3}}, Variant{"EntropyBonus", {.entropy_bonus = 0.01}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(PolicyLearner, AgainstThePolicyBeforeTheStepTheRatioIsOneInTheOnlyUpdate) {
  Fixture fixture({.old_policy = kProximal, .correction = {.kind = Correction::TruncateToken}});
  const auto metrics = fixture.learner.step(stale_batch(), 4);
  EXPECT_EQ(metrics.at("ratio/max"), 1.0);
  EXPECT_EQ(metrics.at("ratio/min"), 1.0);
  EXPECT_GT(metrics.at("rollout_is/max"), 1.0);
  EXPECT_LE(metrics.at("rollout_is/ess"), 1.0);
}

// The recorded ones are off, which shows who believes them: not of an older version, and nobody who was not
// told.
TEST(PolicyLearner, ExactLogprobsOfTheCurrentVersionAreThoseBeforeTheStep) {
  const auto batch = batch_of(random_groups(4, /*seed=*/9));  // of version 0
  const auto most_rho = [&](bool exact, int64_t version) {
    Fixture fixture({.old_policy = kProximal,
                     .exact_logprobs = exact,
                     .correction = {.kind = Correction::TruncateToken, .high = 100},
                     .epochs = 2});
    return fixture.learner.step(batch, version).at("rollout_is/max");
  };
  EXPECT_EQ(most_rho(/*exact=*/true, 0), 1.0);
  EXPECT_NE(most_rho(/*exact=*/true, 1), 1.0);
  EXPECT_NE(most_rho(/*exact=*/false, 0), 1.0);
}

TEST(PolicyLearner, OnPolicyEveryOldPolicyGivesTheSameGradient) {
  auto groups = random_groups(4, /*seed=*/9);
  record_logprobs(*tiny_network(), groups);
  at::Tensor first;
  for (const auto old_policy : {OldPolicy::Behaviour, OldPolicy::Proximal, OldPolicy::Between}) {
    Fixture fixture({.old_policy = old_policy, .correction = {.kind = Correction::TruncateToken}});
    fixture.learner.step(batch_of(groups), 0);
    const auto grad = fixture.grad();
    if (!first.defined()) first = grad;
    EXPECT_LE((grad - first).norm().item<double>(), 1e-4 * first.norm().item<double>());
  }
}

TEST(PolicyLearner, GoesThroughABatchInEpochsOfMinibatches) {
  Fixture fixture({.epochs = 2, .minibatches = 3}, {.lr = 1e-2, .max_grad_norm = 0});
  const auto metrics = fixture.learner.step(stale_batch(), 4);
  EXPECT_EQ(fixture.optimizer.num_steps(), 6);
  EXPECT_NE(metrics.at("ratio/min"), metrics.at("ratio/max"));
}

// With the weights at rest, an epoch of parts is the whole: the parts' shares add up to it.
TEST(PolicyLearner, MinibatchesHaveDenominatorsOfTheirOwn) {
  const auto batch = stale_batch();
  StepDenominators sum;
  for (const auto& groups : split_groups(batch, 4)) {
    const auto part = denominators_of(batch, groups);
    sum.tokens += part.tokens;
    sum.sequences += part.sequences;
    sum.nonempty += part.nonempty;
  }
  EXPECT_EQ(sum.tokens, batch.denominators.tokens);
  EXPECT_EQ(sum.sequences, batch.denominators.sequences);
  EXPECT_EQ(sum.nonempty, batch.denominators.nonempty);
}

// PPO with gamma = lambda = 1 and no value is REINFORCE, and so is a return without a baseline.
TEST(PolicyLearner, WithoutBaselineAndKlATokensAdvantageIsTheReward) {
  const AdvantageOptions none{.baseline = Baseline::None};
  auto discounted = none;
  Fixture plain({.loss = {.surrogate = Surrogate::Reinforce}, .advantage = none}),
      tokens({.loss = {.surrogate = Surrogate::Reinforce}, .advantage = discounted, .gamma = 1.0 - 1e-12});
  plain.learner.step(stale_batch(none), 4);
  tokens.learner.step(stale_batch(none), 4);
  const auto grad = plain.grad();
  EXPECT_LE((tokens.grad() - grad).norm().item<double>(), 1e-5 * grad.norm().item<double>());
}

// Rewards of 1 and 0 against 0.25, less 0.5 times the KL that is left behind each token, its own included.
TEST(PolicyLearner, AgainstAGreedyCompletionATokensAdvantageIsItsReturnLessTheGreedyReward) {
  const AdvantageOptions greedy{.baseline = Baseline::Greedy};
  Fixture fixture({.loss = {.beta = 0.5}, .advantage = greedy, .kl_in_reward = true});
  std::vector<buffers::RolloutGroup> groups = {
      group_of({1, 3}, {completion_of({5, 6}, 1.0), completion_of({9}, 0.0)})};
  groups[0].greedy = {rewards::RewardOutcome::scored(0.25)};
  record_logprobs(*tiny_network(/*seed=*/8), groups);  // the reference's own: a KL of 0 ...
  groups[0].completions[0].logprobs[1] += 0.5f;        // ... but of 0.5 at one token
  const auto metrics = fixture.learner.step(make_training_batch(0, groups, {1.0}, greedy, 16), 0);
  EXPECT_NEAR(metrics.at("kl"), 0.5 / 3, 1e-5);
  EXPECT_NEAR(metrics.at("advantages/max"), 1.0 - 0.25 - 0.25, 1e-5);
  EXPECT_NEAR(metrics.at("advantages/min"), -0.25, 1e-5);
  EXPECT_NEAR(metrics.at("advantages/mean"), (0.5 + 0.5 - 0.25) / 3, 1e-5);
}

TEST(PolicyLearner, AnEntropyBonusRaisesTheEntropy) {
  Fixture plain({}, {.lr = 1e-2, .max_grad_norm = 0}),
      bonus({.entropy_bonus = 5.0}, {.lr = 1e-2, .max_grad_norm = 0});
  double without = 0, with = 0;
  for (int i = 0; i < 5; ++i) {
    without = plain.learner.step(stale_batch(), 4).at("entropy");
    with = bonus.learner.step(stale_batch(), 4).at("entropy");
  }
  EXPECT_GT(with, without);
}

TEST(PolicyLearner, RefusesAKlInTheRewardWithoutAWeight) {
  EXPECT_THROW(Fixture({.kl_in_reward = true}), Error);
}

TEST(RatioSums, AreThoseOfTheSpecification) {
  const Json& example = spec_example("metrics_policy");
  std::vector<double> rho;
  for (size_t i = 0; i < 4; ++i) {
    for (size_t t = 0; t < 4; ++t) {
      if (example["inputs"]["mask"][i][t] != 1) continue;
      rho.push_back(std::exp(example["inputs"]["old_logp"][i][t].get<double>() -
                             example["inputs"]["behaviour_logp"][i][t].get<double>()));
    }
  }
  RatioSums sums;  // in two parts
  sums.add(at::tensor(std::vector<double>(rho.begin(), rho.begin() + 3), at::kDouble), 2.0);
  sums.add(at::tensor(std::vector<double>(rho.begin() + 3, rho.end()), at::kDouble), 2.0);
  const auto& expected = example["expected"];
  const auto count = static_cast<double>(sums.count);
  EXPECT_NEAR(sums.sum / count, expected["rollout_is/mean"].get<double>(), 1e-9);
  EXPECT_NEAR(sums.max, expected["rollout_is/max"].get<double>(), 1e-9);
  EXPECT_NEAR(sums.min, expected["rollout_is/min"].get<double>(), 1e-9);
  EXPECT_NEAR(sums.effective_share(), expected["rollout_is/ess"].get<double>(), 1e-9);
  EXPECT_NEAR(sums.above / count, expected["rollout_is/fraction_high"].get<double>(), 1e-9);
  EXPECT_NEAR(sums.below / count, expected["rollout_is/fraction_low"].get<double>(), 1e-9);
}

}  // namespace
}  // namespace sluice::learner
