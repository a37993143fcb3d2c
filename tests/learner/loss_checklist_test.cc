// What every policy loss keeps to, whatever its surrogate (the checklist of spec section 21).
#include <gtest/gtest.h>

#include <limits>

#include "learner/aggregation.h"
#include "learner/policy_learner.h"
#include "learner/policy_loss.h"
#include "tests/learner/rollouts.h"
#include "tests/loss_checks.h"
#include "tests/step_gradient.h"
#include "tests/tiny_network.h"

namespace sluice::learner {
namespace {

struct LossCase {
  const char* name;
  PolicyLossOptions options;
};

class EveryPolicyLoss : public testing::TestWithParam<LossCase> {};

INSTANTIATE_TEST_SUITE_P(
    Surrogates, EveryPolicyLoss,
    testing::Values(LossCase{"Clip", {.beta = 0.1}}, LossCase{"DualClip", {.dual_clip = 3.0, .beta = 0.1}},
                    LossCase{"Sequence", {.ratio = RatioLevel::Sequence, .beta = 0.1}},
                    LossCase{"SequenceToken", {.ratio = RatioLevel::SequenceToken, .beta = 0.1}},
                    LossCase{"SequenceSum", {.ratio = RatioLevel::SequenceSum, .beta = 0.1}},
                    LossCase{"WeightClip", {.surrogate = Surrogate::WeightClip, .beta = 0.1}},
                    LossCase{"SoftGate", {.surrogate = Surrogate::SoftGate, .beta = 0.1}},
                    LossCase{"Reinforce", {.surrogate = Surrogate::Reinforce, .beta = 0.1}},
                    LossCase{"GeometricMean", {.surrogate = Surrogate::GeometricMean, .beta = 0.1}},
                    LossCase{"GammaWeight", {.surrogate = Surrogate::GammaWeight, .beta = 0.1}},
                    LossCase{"TrustRegion", {.surrogate = Surrogate::TrustRegion, .beta = 0.1}}),
    [](const auto& named) { return std::string(named.param.name); });

// Log-ratios of -1000 and 1000, to the old policy and to the reference, for either sign of the advantage.
TEST_P(EveryPolicyLoss, IsFiniteForExtremeLogRatios) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    for (const double sign : {1.0, -1.0}) {
      const auto logprobs = trained({-1000.0, 0.0}, type);
      const auto far = constant({0.0, -1000.0}).to(type);
      const auto loss = policy_loss({.logprobs = logprobs,
                                     .old_logprobs = far,
                                     .ref_logprobs = far,
                                     .advantages = constant({sign, -sign}),
                                     .weights = constant({0.5, 0.5}),
                                     .lengths = {1, 1}},
                                    GetParam().options)
                            .loss;
      loss.backward();
      expect_finite(loss.detach());
      expect_finite(logprobs.grad());
    }
  }
}

TEST_P(EveryPolicyLoss, LeavesConstantsWithoutGradients) {
  const auto logprobs = trained({-0.3, -1.9, -0.7}), old = trained({-0.35, -1.5, -0.7}),
             reference = trained({-0.5, -1.5, -0.9}), advantages = trained({0.9, -0.4, -0.4}),
             weights = trained({0.5, 0.25, 0.25}), factors = trained({1.0, 2.0, 0.5});
  policy_loss({.logprobs = logprobs,
               .old_logprobs = old,
               .ref_logprobs = reference,
               .advantages = advantages,
               .weights = weights,
               .lengths = {1, 2},
               .factors = factors},
              GetParam().options)
      .loss.backward();
  EXPECT_GT(logprobs.grad().norm().item<double>(), 0.0);
  for (const auto& held : {old, reference, advantages, weights, factors}) {
    EXPECT_TRUE(!held.grad().defined() || held.grad().abs().sum().item<double>() == 0.0);
  }
}

// What stands where the policy did not choose is the actor's: garbage there is the same as anything else.
TEST_P(EveryPolicyLoss, LetsNoMaskedGarbageThrough) {
  const auto gradient_with = [&](float garbage) {
    auto groups = random_groups(3, /*seed=*/5);
    bool any = false;
    for (auto& group : groups) {
      for (auto& completion : group.completions) {
        for (size_t t = 0; t < completion.mask.size(); ++t) {
          if (completion.mask[t] != 0) continue;
          completion.logprobs[t] = completion.kept_mass[t] = garbage;
          any = true;
        }
      }
    }
    EXPECT_TRUE(any);
    const auto network = tiny_network();
    transport::SoloCollective alone;
    optim::Optimizer optimizer(*network, alone, {.max_grad_norm = 0}, /*total_steps=*/10);
    const reference::ReferencePolicy reference(tiny_network(8));
    PolicyLearner(*network, &reference, optimizer, {.loss = GetParam().options})
        .step(make_training_batch(0, std::move(groups), {1.0}, {}, /*max_new_tokens=*/16), /*version=*/0);
    return step_gradient(optimizer);
  };
  const auto clean = gradient_with(-1.0f);
  EXPECT_GT(clean.norm().item<double>(), 0.0);
  EXPECT_TRUE(at::equal(gradient_with(std::numeric_limits<float>::quiet_NaN()), clean));
  EXPECT_TRUE(at::equal(gradient_with(-std::numeric_limits<float>::infinity()), clean));
}

// A step of nothing but cut completions is none; of one token it is a step.
TEST_P(EveryPolicyLoss, LearnsFromOneTokenAndNotFromCutCompletions) {
  const auto metrics_of = [&](buffers::FinishReason finish) {
    auto groups = std::vector{group_of({1, 3}, {completion_of({5}, 1.0), completion_of({6, 7}, 0.0)})};
    groups[0].completions[1].mask = {0, 0};
    for (auto& completion : groups[0].completions) completion.finish = finish;
    const auto network = tiny_network();
    transport::SoloCollective alone;
    optim::Optimizer optimizer(*network, alone, {}, /*total_steps=*/10);
    const reference::ReferencePolicy reference(tiny_network(8));
    return PolicyLearner(*network, &reference, optimizer, {.loss = GetParam().options})
        .step(make_training_batch(0, groups, {1.0}, {.mask_truncated = true}, /*max_new_tokens=*/2), 0);
  };
  const auto one_token = metrics_of(buffers::FinishReason::Stop);
  EXPECT_GT(one_token.at("grad_norm"), 0.0);
  EXPECT_EQ(one_token.at("nonfinite_skips"), 0.0);
  EXPECT_FALSE(metrics_of(buffers::FinishReason::Length).contains("grad_norm"));
}

}  // namespace
}  // namespace sluice::learner
