#include "learner/policy_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/error.h"
#include "tests/learner/packed_example.h"

namespace sluice::learner {
namespace {

TEST(KlEstimate, GivesTheValuesAndGradientsOfTheSpecification) {
  const Json& example = spec_example("kl_estimators");
  const std::vector<std::pair<KlEstimator, std::string>> estimators = {{KlEstimator::K1, "k1"},
                                                                       {KlEstimator::K2, "k2"},
                                                                       {KlEstimator::K3, "k3"},
                                                                       {KlEstimator::LowVar, "low_var_kl"}};
  for (const auto& [estimator, name] : estimators) {
    const auto logprobs = trained(example["inputs"]["logp"].get<std::vector<double>>());
    const auto kl =
        kl_estimate(logprobs, constant(example["inputs"]["ref_logp"].get<std::vector<double>>()), estimator);
    kl.sum().backward();
    expect_near(kl.detach(), example["expected"][name].get<std::vector<double>>());
    expect_near(logprobs.grad(), example["expected"]["grad_" + name].get<std::vector<double>>());
  }
}

TEST(KlEstimate, AbsIsTheDistanceWithItsSignAsGradient) {
  const auto logprobs = trained({-1.0, -2.0});
  const auto kl = kl_estimate(logprobs, constant({-1.5, -1.25}), KlEstimator::Abs);
  kl.sum().backward();
  expect_near(kl.detach(), {0.5, 0.75});
  expect_near(logprobs.grad(), {1.0, -1.0});
}

TEST(KlEstimate, StraightThroughHasTheGradientOfK2) {
  const Json& example = spec_example("kl_straight_through_k3plus");
  const auto ref_logprobs = constant(example["inputs"]["ref_logp"].get<std::vector<double>>());
  const auto grad = example["expected"]["grad"].get<std::vector<double>>();
  const std::vector<std::pair<KlEstimator, std::vector<double>>> estimators = {
      {KlEstimator::K3Plus, example["expected"]["value"].get<std::vector<double>>()},
      {KlEstimator::K1Plus, {0.2, -0.1, 0.05, -0.2}}};  // logp - ref_logp
  for (const auto& [estimator, value] : estimators) {
    const auto logprobs = trained(example["inputs"]["logp"].get<std::vector<double>>());
    const auto kl = kl_estimate(logprobs, ref_logprobs, estimator);
    kl.sum().backward();
    expect_near(kl.detach(), value);
    expect_near(logprobs.grad(), grad);
  }
}

TEST(KlEstimate, K3IsCarriesTheGradientOfTheRatioToo) {
  const Json& example = spec_example("kl_importance_weighted_k3");
  const auto input = [&](const char* name) { return example["inputs"][name].get<std::vector<double>>(); };
  const auto logprobs = trained(input("logp"));
  const auto ref_logprobs = constant(input("ref_logp"));
  const auto ratio = (logprobs - constant(input("old_logp"))).exp();
  const auto kl = kl_estimate(logprobs, ref_logprobs, KlEstimator::K3Is, ratio);
  kl.sum().backward();
  expect_near(kl.detach(), example["expected"]["value"].get<std::vector<double>>());
  expect_near(logprobs.grad(), example["expected"]["grad"].get<std::vector<double>>());
  EXPECT_THROW(kl_estimate(logprobs, ref_logprobs, KlEstimator::K3Is), Error);
}

TEST(PolicyLoss, IsTheClippedSurrogateOfTheSpecification) {
  const PackedExample packed("loss_ppo_clip_token_mean");
  expect_loss(packed, packed.inputs(Aggregation::TokenMean), {});
}

TEST(PolicyLoss, AgainstTheBehaviourPolicyIsTheBypassModeOfTheSpecification) {
  const PackedExample packed("loss_bypass_ppo");
  expect_loss(packed, packed.inputs(Aggregation::TokenMean, "behaviour_logp"), {});
}

TEST(PolicyLoss, BoundsTheLossOfBadTokensAsTheSpecificationsDualClip) {
  const PackedExample packed("loss_ppo_dual_clip");
  const PolicyLossOptions options{.dual_clip =
                                      packed.example["hyperparameters"]["dual_clip_c"].get<double>()};
  const auto in = packed.inputs(Aggregation::TokenMean);
  expect_loss(packed, in, options);
  EXPECT_EQ(policy_loss(in, options).sums.dual_clipped, 1.0);  // the last token's ratio of 1.65
  EXPECT_EQ(policy_loss(in).sums.dual_clipped, 0.0);
}

TEST(PolicyLoss, WithADualClipOfDeltaIsTheTwoSidedClipOfTheSpecification) {
  const PackedExample packed("loss_two_sided_delta");
  expect_loss(packed, packed.inputs(Aggregation::TokenMean),
              {.dual_clip = packed.example["hyperparameters"]["delta"].get<double>()});
}

TEST(PolicyLoss, WithK3IsTheGrpoLossOfTheSpecification) {
  const PackedExample packed("loss_grpo_k3");
  const auto in = packed.inputs(Aggregation::SeqMeanTokenMean);
  const PolicyLossOptions options{.beta = 0.04, .kl = KlEstimator::K3};
  expect_loss(packed, in, options);

  const auto result = policy_loss(in, options);
  EXPECT_NEAR(result.sums.kl / 10.0, packed.expected("mean_k3_token_mean"), 1e-9);
  const double kl_share = packed.expected("mean_k3_seq_mean") * 0.04;
  EXPECT_NEAR(result.sums.policy_loss, packed.expected("loss") - kl_share, 1e-9);
}

TEST(PolicyLoss, MeasuresWhatTheSpecificationMeasures) {
  const PackedExample packed("metrics_policy");
  const auto loss = policy_loss(packed.inputs(Aggregation::TokenMean));
  const auto& sums = loss.sums;
  EXPECT_NEAR(sums.clipped_low / 10, packed.expected("clip_ratio/low_mean"), 1e-9);
  EXPECT_NEAR(sums.clipped_high / 10, packed.expected("clip_ratio/high_mean"), 1e-9);
  EXPECT_NEAR((sums.clipped_low + sums.clipped_high) / 10, packed.expected("clip_ratio/region_mean"), 1e-9);
  EXPECT_NEAR(sums.ratio / 10, packed.expected("ratio/mean"), 1e-9);
  EXPECT_NEAR(sums.ratio_max, packed.expected("ratio/max"), 1e-9);
  EXPECT_NEAR(sums.ratio_min, packed.expected("ratio/min"), 1e-9);
  EXPECT_NEAR(sums.ppo_kl / 10, packed.expected("ppo_kl_k1"), 1e-9);
  EXPECT_NEAR(sums.approx_kl / 10, packed.expected("approx_kl_k3"), 1e-9);
  EXPECT_EQ(std::ranges::min(sequence_shares(loss.clipped_low, packed.lengths)),
            packed.expected("clip_ratio/low_min"));
  EXPECT_NEAR(std::ranges::max(sequence_shares(loss.clipped_high, packed.lengths)),
              packed.expected("clip_ratio/high_max"), 1e-9);
}

TEST(PolicyLoss, SharesLeaveOutSequencesWithoutAToken) {
  const auto flags = at::tensor({1, 0, 1, 1}).to(at::kBool);
  EXPECT_EQ(sequence_shares(flags, {2, 0, 1, 1}), (std::vector<double>{0.5, 1.0, 1.0}));
  EXPECT_THROW(sequence_shares(flags, {2, 1}), Error);
}

TEST(PolicyLoss, StopsRewardingAGoodTokenPastTheClip) {
  const auto logprobs = trained({std::log(1.5)});
  const PolicyLossInputs in{.logprobs = logprobs,
                            .old_logprobs = constant({0.0}),
                            .ref_logprobs = {},
                            .advantages = constant({2.0}),
                            .weights = constant({1.0})};
  const auto result = policy_loss(in, {.clip_high = 0.28});
  result.loss.backward();
  EXPECT_NEAR(result.loss.item<double>(), -2.56, 1e-12);  // -(1 + 0.28) * 2
  EXPECT_EQ(logprobs.grad().item<double>(), 0.0);
}

TEST(PolicyLoss, OnPolicyHasTheWholePolicyGradient) {
  const auto logprobs = trained({-1.0, -0.25});
  policy_loss({.logprobs = logprobs,
               .old_logprobs = logprobs,  // is taken as a constant
               .ref_logprobs = {},
               .advantages = constant({2.0, -3.0}),
               .weights = constant({0.5, 0.5})})
      .loss.backward();
  expect_near(logprobs.grad(), {-1.0, 1.5}, 0.0);
}

TEST(PolicyLoss, StaysFiniteForLogRatiosThatOverflow) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    const auto logprobs = constant({-1000.0, 0.0}).to(type).requires_grad_();
    const auto result = policy_loss({.logprobs = logprobs,
                                     .old_logprobs = constant({0.0, -1000.0}).to(type),
                                     .ref_logprobs = constant({0.0, -1000.0}).to(type),
                                     .advantages = constant({1.0, -1.0}),
                                     .weights = constant({0.5, 0.5})},
                                    {.beta = 0.1});
    result.loss.backward();
    EXPECT_TRUE(std::isfinite(result.loss.item<double>()));
    EXPECT_TRUE(logprobs.grad().isfinite().all().item<bool>());
  }
}

TEST(PolicyLoss, OfNoTokenIsAZeroThatBackwardCanRunThrough) {
  const auto logprobs = trained({});
  const auto empty = constant({});
  const auto result = policy_loss({logprobs, empty, empty, empty, empty}, {.beta = 0.1});
  result.loss.backward();
  EXPECT_EQ(result.loss.item<double>(), 0.0);
  EXPECT_EQ(logprobs.grad().numel(), 0);
}

TEST(PolicyLoss, HasTheGradientOfCentralDifferences) {
  const std::vector<double> logprobs = {-0.3, -1.9, -0.75, -2.4, -0.11, -3.2};
  const std::vector<double> old_logprobs = {-0.35, -1.2, -0.7, -2.9, -0.12, -2.5};
  const std::vector<double> ref_logprobs = {-0.5, -1.5, -0.9, -2.0, -0.3, -3.3};
  const std::vector<double> advantages = {0.9, 0.4, -1.3, 1.1, -0.2, -0.7};
  for (const auto mode : {Aggregation::TokenMean, Aggregation::SeqMeanTokenMean, Aggregation::SeqMeanTokenSum,
                          Aggregation::SeqMeanTokenSumNorm}) {
    for (const auto kl : {KlEstimator::K1, KlEstimator::K2, KlEstimator::K3, KlEstimator::LowVar,
                          KlEstimator::Abs, KlEstimator::K3Is}) {
      const auto loss_of = [&](const at::Tensor& values) {
        return policy_loss({.logprobs = values,
                            .old_logprobs = constant(old_logprobs),
                            .ref_logprobs = constant(ref_logprobs),
                            .advantages = constant(advantages),
                            .weights = aggregation_weights(mode, {2, 1, 3},
                                                           {.tokens = 6, .sequences = 3, .max_length = 5})},
                           {.beta = 0.3, .kl = kl})
            .loss;
      };
      const auto values = trained(logprobs);
      loss_of(values).backward();
      constexpr double kStep = 1e-6;
      for (size_t i = 0; i < logprobs.size(); ++i) {
        auto up = logprobs, down = logprobs;
        up[i] += kStep;
        down[i] -= kStep;
        const double difference =
            (loss_of(constant(up)).item<double>() - loss_of(constant(down)).item<double>()) / (2 * kStep);
        EXPECT_NEAR(values.grad()[static_cast<int64_t>(i)].item<double>(), difference, 1e-8);
      }
    }
  }
}

struct LossExample {
  const char* name;
  PolicyLossOptions options;
  Aggregation aggregation = Aggregation::TokenMean;
};

class LossOfTheSpecification : public testing::TestWithParam<LossExample> {};

TEST_P(LossOfTheSpecification, HasItsValuesAndGradients) {
  const PackedExample packed(GetParam().name);
  expect_loss(packed, packed.inputs(GetParam().aggregation), GetParam().options);
}

constexpr auto kMean = Aggregation::SeqMeanTokenMean;
INSTANTIATE_TEST_SUITE_P(
    Examples, LossOfTheSpecification,
    testing::Values(
        LossExample{"loss_dapo", {.clip_high = 0.28}},
        LossExample{"loss_dr_grpo", {}, Aggregation::SeqMeanTokenSumNorm},
        LossExample{"loss_gspo", {.ratio = RatioLevel::Sequence, .clip_low = 0.1, .clip_high = 0.1}, kMean},
        LossExample{"loss_gspo_paper_clip",
                    {.ratio = RatioLevel::Sequence, .clip_low = 3e-4, .clip_high = 4e-4},
                    kMean},
        LossExample{"loss_gspo_token",
                    {.ratio = RatioLevel::SequenceToken, .clip_low = 0.1, .clip_high = 0.1},
                    kMean},
        LossExample{"loss_cispo_absolute_cap",
                    {.surrogate = Surrogate::WeightClip, .weight_low = 0, .weight_high = 1.3}},
        LossExample{"loss_cispo_relative_band",
                    {.surrogate = Surrogate::WeightClip, .weight_low = 0.8, .weight_high = 1.28}},
        LossExample{"loss_sapo", {.surrogate = Surrogate::SoftGate}, kMean},
        LossExample{"loss_reinforce", {.surrogate = Surrogate::Reinforce}, Aggregation::SeqMeanTokenSum},
        LossExample{"loss_rloo_sequence_clip", {.ratio = RatioLevel::SequenceSum}, kMean},
        LossExample{"loss_gmpo", {.surrogate = Surrogate::GeometricMean, .log_clip = 0.25}, kMean},
        LossExample{"loss_luspo",
                    {.ratio = RatioLevel::Sequence, .clip_low = 0.1, .clip_high = 0.1},
                    Aggregation::SeqMeanTokenSum},
        LossExample{"loss_vespo", {.surrogate = Surrogate::GammaWeight}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(PolicyLoss, OfTheTrustRegionIsTheSpecifications) {
  const PackedExample packed("loss_dppo_tv");
  const auto in = packed.inputs(Aggregation::TokenMean, "behaviour_logp");
  const PolicyLossOptions options{
      .surrogate = Surrogate::TrustRegion, .clip_low = 0.06, .clip_high = 0.06, .trust_kl = 1e-3};
  expect_loss(packed, in, options);
  const auto result = policy_loss(in, options);
  const auto kept = packed.example["expected"]["kept"].get<std::vector<std::vector<bool>>>();
  int64_t token = 0;
  for (size_t i = 0; i < packed.lengths.size(); ++i) {
    for (size_t t = 0; t < static_cast<size_t>(packed.lengths[i]); ++t, ++token) {
      const bool left = result.clipped_low[token].item<bool>() || result.clipped_high[token].item<bool>();
      EXPECT_EQ(kept[i][t], !left) << i << ", " << t;
    }
  }
}

// Spec section 21, item 4.
TEST(PolicyLoss, OfASequencesTokensIsThatOfTheSequenceWhereAdvantagesAreEqual) {
  const PackedExample packed("loss_gspo");
  const auto whole = packed.inputs(kMean), tokens = packed.inputs(kMean);
  const auto a = policy_loss(whole, {.ratio = RatioLevel::Sequence, .clip_low = 0.1, .clip_high = 0.1});
  const auto b = policy_loss(tokens, {.ratio = RatioLevel::SequenceToken, .clip_low = 0.1, .clip_high = 0.1});
  a.loss.backward();
  b.loss.backward();
  EXPECT_NEAR(a.loss.item<double>(), b.loss.item<double>(), 1e-12);
  EXPECT_TRUE(at::allclose(whole.logprobs.grad(), tokens.logprobs.grad(), 1e-12, 1e-12));
  EXPECT_NEAR(a.sums.ratio, 0.9875778005 + 0.8394570208 + 1.105170918 + 1.648721271, 1e-8);  // of sequences
  EXPECT_NEAR(a.sums.clipped_high, 1.0, 1e-12);
}

TEST(PolicyLoss, AtARatioOfOneHasTheGradientOfGrpo) {
  for (const auto surrogate : {Surrogate::Clip, Surrogate::WeightClip, Surrogate::SoftGate,
                               Surrogate::Reinforce, Surrogate::GeometricMean, Surrogate::TrustRegion}) {
    for (const auto level : {RatioLevel::Token, RatioLevel::Sequence, RatioLevel::SequenceToken}) {
      const PackedExample packed("loss_gspo");
      auto in = packed.inputs(kMean), grpo = packed.inputs(kMean);
      in.old_logprobs = grpo.old_logprobs = in.logprobs.detach();
      policy_loss(grpo).loss.backward();
      policy_loss(in, {.surrogate = surrogate, .ratio = level}).loss.backward();
      EXPECT_TRUE(at::allclose(in.logprobs.grad(), grpo.logprobs.grad(), 1e-12, 1e-12))
          << static_cast<int>(surrogate) << ", " << static_cast<int>(level);
    }
  }
}

TEST(PolicyLoss, OfEachKindHasTheGradientOfCentralDifferences) {
  const std::vector<double> logprobs = {-0.3, -1.9, -0.75, -2.4, -0.11, -3.2};
  const std::vector<double> old_logprobs = {-0.35, -1.2, -0.7, -2.9, -0.12, -2.5};
  const std::vector<double> factors = {1.5, 0.0, 1.0, 0.5, 2.0, 1.0};
  const auto at = [&](const std::vector<double>& values) {
    return PolicyLossInputs{.logprobs = trained(values),
                            .old_logprobs = constant(old_logprobs),
                            .ref_logprobs = {},
                            .advantages = constant({0.9, 0.9, -1.3, -0.2, -0.2, -0.2}),
                            .weights = aggregation_weights(Aggregation::SeqMeanTokenMean, {2, 1, 3},
                                                           {.tokens = 6, .sequences = 3}),
                            .lengths = {2, 1, 3},
                            .factors = constant(factors)};
  };
  const std::vector<PolicyLossOptions> all = {
      {.surrogate = Surrogate::SoftGate},
      {.surrogate = Surrogate::Reinforce},
      {.surrogate = Surrogate::GeometricMean},
      {.surrogate = Surrogate::TrustRegion, .trust_kl = 0.1},
      {.surrogate = Surrogate::Clip, .ratio = RatioLevel::Sequence},
      {.surrogate = Surrogate::Clip, .ratio = RatioLevel::SequenceSum, .dual_clip = 3.0}};
  for (const auto& options : all) {
    const auto in = at(logprobs);
    policy_loss(in, options).loss.backward();
    constexpr double kStep = 1e-6;
    for (size_t i = 0; i < logprobs.size(); ++i) {
      auto up = logprobs, down = logprobs;
      up[i] += kStep;
      down[i] -= kStep;
      const double difference = (policy_loss(at(up), options).loss.item<double>() -
                                 policy_loss(at(down), options).loss.item<double>()) /
                                (2 * kStep);
      EXPECT_NEAR(in.logprobs.grad()[static_cast<int64_t>(i)].item<double>(), difference, 1e-8);
    }
  }
}

// Those with a weight that is held constant: differences of the same loss with the weight of the point.
TEST(PolicyLoss, OfAHeldWeightHasTheGradientOfCentralDifferences) {
  const std::vector<double> point = {-0.3, -1.9, -0.75, -2.4, -0.11, -3.2},
                            good = {0.9, 0.9, -1.3, -0.2, -0.2, 0.4};
  const auto in_at = [&](const std::vector<double>& values) {
    return PolicyLossInputs{.logprobs = trained(values),
                            .old_logprobs = constant({-0.35, -1.2, -0.7, -2.9, -0.12, -2.5}),
                            .ref_logprobs = {},
                            .advantages = constant(good),
                            .weights = aggregation_weights(Aggregation::SeqMeanTokenMean, {2, 1, 3},
                                                           {.tokens = 6, .sequences = 3}),
                            .lengths = {2, 1, 3}};
  };
  for (const auto& options : {PolicyLossOptions{.surrogate = Surrogate::WeightClip, .weight_high = 1.2},
                              PolicyLossOptions{.surrogate = Surrogate::GammaWeight},
                              PolicyLossOptions{.ratio = RatioLevel::SequenceToken}}) {
    const auto in = in_at(point);
    const auto loss = policy_loss(in, options);
    loss.loss.backward();
    const auto token = [&](int64_t i, double logprob) {
      const auto at_i = [i](const at::Tensor& tensor) { return tensor[i].item<double>(); };
      const auto here = static_cast<size_t>(i);
      if (options.surrogate != Surrogate::Clip) {
        return at_i(in.weights) * at_i(loss.token_loss) / point[here] * logprob;
      }
      const double ratio = at_i(loss.ratio) * std::exp(logprob - point[here]);
      return -at_i(in.weights) * std::min(ratio * good[here], std::clamp(ratio, 0.8, 1.2) * good[here]);
    };
    constexpr double kStep = 1e-6;
    for (int64_t i = 0; i < in.logprobs.numel(); ++i) {
      const double logprob = point[static_cast<size_t>(i)];
      EXPECT_NEAR(in.logprobs.grad()[i].item<double>(),
                  (token(i, logprob + kStep) - token(i, logprob - kStep)) / (2 * kStep), 1e-8)
          << static_cast<int>(options.surrogate) << ", token " << i;
    }
  }
}

TEST(PolicyLoss, OfSequencesNeedsTheirLengths) {
  const auto two = constant({0.1, 0.2});
  EXPECT_THROW(policy_loss({two, two, {}, two, two}, {.ratio = RatioLevel::Sequence}), Error);
}

TEST(PolicyLoss, RefusesShapesThatDisagreeAMissingReferenceAndADualClipOfOne) {
  const auto two = constant({0.1, 0.2}), one = constant({0.1});
  EXPECT_THROW(policy_loss({two, one, {}, two, two}), Error);
  EXPECT_THROW(policy_loss({two, two, {}, one, two}), Error);
  EXPECT_THROW(policy_loss({two, two, {}, two, one}), Error);
  EXPECT_THROW(policy_loss({two, two, {}, two, two}, {.beta = 0.1}), Error);
  EXPECT_THROW(policy_loss({two, two, {}, two, two}, {.dual_clip = 1.0}), Error);
}

TEST(Aggregation, GivesTheModesOfTheSpecification) {
  const PackedExample packed("aggregation_modes");
  const auto token_loss = constant(packed.packed("inputs", "per_token_loss"));
  const auto all = SequenceDenominator::All, nonempty = SequenceDenominator::NonEmpty;
  const auto aggregate = [&](Aggregation mode, SequenceDenominator counted) {
    const StepDenominators step{.tokens = packed.denominators.tokens,
                                .sequences = packed.denominators.sequences,
                                .max_length = packed.example["hyperparameters"]["L_max"].get<int64_t>(),
                                .nonempty = 4};
    return (token_loss * aggregation_weights(mode, packed.lengths, step, counted)).sum().item<double>();
  };
  EXPECT_EQ(packed.lengths.back(), 0);
  EXPECT_NEAR(aggregate(Aggregation::TokenMean, all), packed.expected("token_mean"), 1e-12);
  EXPECT_NEAR(aggregate(Aggregation::SeqMeanTokenMean, all), packed.expected("seq_mean_token_mean_all"),
              1e-12);
  EXPECT_NEAR(aggregate(Aggregation::SeqMeanTokenMean, nonempty),
              packed.expected("seq_mean_token_mean_nonempty"), 1e-12);
  EXPECT_NEAR(aggregate(Aggregation::SeqMeanTokenSum, all), packed.expected("seq_mean_token_sum_all"), 1e-12);
  EXPECT_NEAR(aggregate(Aggregation::SeqMeanTokenSum, nonempty),
              packed.expected("seq_mean_token_sum_nonempty"), 1e-12);
  EXPECT_NEAR(aggregate(Aggregation::SeqMeanTokenSumNorm, all), packed.expected("dr_grpo_trl"), 1e-12);
}

// Ranks add their gradients here, so a micro-batch is worth its share: the example's, which averages over two
// ranks, halved.
TEST(Aggregation, GivesEachMicroBatchItsShareOfTheStep) {
  const Json& example = spec_example("grad_accumulation_data_parallel");
  const StepDenominators step{.tokens = example["expected"]["N_global_tokens"].get<int64_t>(),
                              .sequences = 4};
  double total = 0.0;
  for (const char* rank : {"rank0", "rank1"}) {
    for (size_t i = 0; i < 2; ++i) {
      const auto losses = example["inputs"]["micro_batches"][rank][i].get<std::vector<double>>();
      const auto values = trained(losses);
      const auto share =
          (values * aggregation_weights(Aggregation::TokenMean, {static_cast<int64_t>(losses.size())}, step))
              .sum();
      share.backward();
      const double expected = example["expected"]["micro_loss_to_backward"][rank][i].get<double>() / 2.0;
      EXPECT_NEAR(share.item<double>(), expected, 1e-12);
      expect_near(values.grad(),
                  std::vector<double>(losses.size(), example["expected"]["dloss_dtoken"].get<double>()));
      total += share.item<double>();
    }
  }
  EXPECT_NEAR(total, example["expected"]["after_accumulate_and_rank_average"].get<double>(), 1e-12);
}

}  // namespace
}  // namespace sluice::learner
