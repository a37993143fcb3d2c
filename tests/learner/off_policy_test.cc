#include "learner/off_policy.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/learner/packed_example.h"

namespace sluice::learner {
namespace {

struct CorrectionExample {
  const char* name;
  CorrectionOptions options;
};

class CorrectionOfTheSpecification : public testing::TestWithParam<CorrectionExample> {};

TEST_P(CorrectionOfTheSpecification, MultipliesTheClippedLoss) {
  const PackedExample packed(GetParam().name);
  auto in = packed.inputs(Aggregation::TokenMean);
  const auto behaviour = constant(packed.packed("inputs", "behaviour_logp"));
  const auto correction = correction_weights(in.old_logprobs, behaviour, packed.lengths, GetParam().options);
  in.factors = correction.weights;
  expect_loss(packed, in, {});
  const auto& expected = packed.example["expected"];
  if (expected.contains("rho")) expect_near(correction.rho, packed.packed("expected", "rho"));
  if (expected.contains("weight")) {
    const bool of_tokens = expected["weight"].front().is_array();
    expect_near(correction.weights,
                of_tokens ? packed.packed("expected", "weight") : packed.spread("expected", "weight"));
  }
  if (expected.contains("masked_fraction")) {
    EXPECT_NEAR(correction.weights.eq(0).to(at::kDouble).mean().item<double>(),
                packed.expected("masked_fraction"), 1e-12);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Examples, CorrectionOfTheSpecification,
    testing::Values(CorrectionExample{"loss_tis_token", {.kind = Correction::TruncateToken}},
                    CorrectionExample{"loss_tis_sequence", {.kind = Correction::TruncateSequence, .high = 3}},
                    CorrectionExample{"loss_icepop", {.kind = Correction::MaskToken, .low = 0.5, .high = 5}},
                    CorrectionExample{"loss_mis_sequence_mask",
                                      {.kind = Correction::MaskSequence, .high = 3}},
                    CorrectionExample{"loss_geo_mask_tis",
                                      {.kind = Correction::TruncateToken, .mean_low = 0.5, .mean_high = 2}},
                    CorrectionExample{"loss_decoupled_ppo", {.kind = Correction::MaskToken, .high = 5}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(OffPolicy, WithoutACorrectionEveryFactorIsOne) {
  const auto weights = correction_weights(constant({-1, -30}), constant({-2, -1}), {1, 1}, {}).weights;
  expect_near(weights, {1, 1});
}

TEST(OffPolicy, ProximalLogprobsLieBetweenBehaviourAndCurrentByAge) {
  const PackedExample packed("proximal_loglinear_approximation");
  const auto versions = constant(packed.packed("inputs", "token_versions")).to(at::kLong);
  const auto logprobs = trained(packed.packed("inputs", "logp"));
  const auto proximal =
      proximal_between(logprobs, constant(packed.packed("inputs", "behaviour_logp")), versions,
                       packed.example["inputs"]["current_version"].get<int64_t>());
  expect_near(proximal, packed.packed("expected", "proximal_logp"));
  EXPECT_FALSE(proximal.requires_grad());
}

TEST(OffPolicy, ATokenOfUnknownVersionOrOfTheCurrentOneKeepsItsBehaviour) {
  const auto versions = at::tensor({-1, 6, 9}, at::kLong);
  expect_near(proximal_between(constant({-1, -1, -1}), constant({-2, -3, -4}), versions, 6), {-2, -3, -4});
}

TEST(OffPolicy, SequencesOfNegativeAdvantageThatThePolicyLeftAreMasked) {
  const PackedExample packed("loss_off_policy_sequence_mask");
  auto in = packed.inputs(Aggregation::SeqMeanTokenMean);
  const auto keep = keep_near_sequences(in.logprobs, in.old_logprobs, in.advantages, packed.lengths, 0.1);
  in.factors = keep.to(at::kDouble);
  expect_loss(packed, in, {});
}

std::vector<bool> bools(const at::Tensor& values) {
  std::vector<bool> out;
  for (int64_t i = 0; i < values.numel(); ++i) out.push_back(values[i].item<bool>());
  return out;
}

TEST(OffPolicy, TheFewestTokensAreDroppedForASmallMoment) {
  const Json& example = spec_example("mask_m2po");
  const auto values = [&](const char* key) {
    return constant(example["inputs"][key].get<std::vector<double>>());
  };
  const auto keep = keep_small_moments(values("proximal_logp"), values("behaviour_logp"), 0.06);
  EXPECT_EQ(bools(keep), example["expected"]["keep"].get<std::vector<bool>>());
  EXPECT_EQ(bools(keep_small_moments(constant({-1, -2}), constant({-9, -9}), 1e-9)),
            (std::vector<bool>{false, true}));  // one is kept
  EXPECT_EQ(keep_small_moments(constant({}), constant({}), 0.1).numel(), 0);
}

TEST(OffPolicy, TokensOfHighEntropyAreThoseAboveTheQuantile) {
  const Json& example = spec_example("mask_high_entropy");
  const auto entropy = constant(example["inputs"]["entropy"].get<std::vector<double>>());
  EXPECT_EQ(bools(keep_high_entropy(entropy, 0.4)), example["expected"]["keep"].get<std::vector<bool>>());
  EXPECT_EQ(bools(keep_high_entropy(entropy, 1.0)), std::vector<bool>(5, true));
  EXPECT_THROW(keep_high_entropy(entropy, 0.0), Error);
}

TEST(OffPolicy, ExtremeRatiosStayFinite) {
  for (const auto kind : {Correction::TruncateToken, Correction::TruncateSequence, Correction::MaskToken,
                          Correction::MaskSequence}) {
    const auto weights =
        correction_weights(constant({0, -1000, 0}), constant({-1000, 0, 0}), {2, 1}, {.kind = kind}).weights;
    EXPECT_TRUE(weights.isfinite().all().item<bool>());
  }
}

}  // namespace
}  // namespace sluice::learner
