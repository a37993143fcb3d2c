#include "learner/kl.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/learner/packed_example.h"
#include "tests/loss_checks.h"

namespace sluice::learner {
namespace {

TEST(ExactKl, IsTheSpecificationsWithItsGradient) {
  const Json& example = spec_example("kl_exact_full_vocab");
  const auto logits = trained(example["inputs"]["p_logits"].get<std::vector<double>>());
  const auto ref = constant(example["inputs"]["q_logits"].get<std::vector<double>>());
  const auto kl = exact_kl(logits.unsqueeze(0), ref.unsqueeze(0));
  kl.sum().backward();
  expect_near(kl.detach(), {example["expected"]["kl"].get<double>()});
  expect_near(logits.grad(), example["expected"]["grad_p_logits"].get<std::vector<double>>());
  EXPECT_THROW(exact_kl(logits, ref), Error);
}

TEST(ExactKl, HasTheGradientOfCentralDifferences) {
  const auto ref = constant({0.1, -0.4, 1.0, 0.0}).unsqueeze(0);
  expect_gradient([&](const at::Tensor& logits) { return exact_kl(logits.unsqueeze(0), ref).sum(); },
                  {1.0, 0.2, -0.5, 0.3});
}

TEST(KlController, FollowsItsTargetAsInTheSpecification) {
  const Json& example = spec_example("kl_adaptive_controller");
  KlController controller{.coefficient = 0.2, .target = 0.1, .horizon = 10'000};
  const auto expected = example["expected"]["coef_after_each"].get<std::vector<double>>();
  for (size_t i = 0; i < expected.size(); ++i) {
    controller.update(example["inputs"]["current_kl"][i].get<double>(),
                      example["inputs"]["n_steps"][i].get<int64_t>());
    EXPECT_NEAR(controller.coefficient, expected[i], 1e-12);
  }
}

// k1, k2 and k3 agree to second order (spec section 3.1): with a step h between the policies they differ by
// h^3.
TEST(KlEstimate, OfNearPoliciesAgreesToSecondOrder) {
  const auto probs = at::tensor({0.5, 0.3, 0.2}, at::kDouble),
             move = at::tensor({1.0, -2.0, 0.5}, at::kDouble);
  for (const double h : {1e-2, 1e-3}) {
    const auto logp = (probs.log() + h * move).log_softmax(0), ref = probs.log();
    const auto mean = [&](KlEstimator estimator) {
      return (logp.exp() * kl_estimate(logp, ref, estimator)).sum().item<double>();
    };
    const double exact = exact_kl(logp.unsqueeze(0), ref.unsqueeze(0)).item<double>();
    for (const auto estimator : {KlEstimator::K1, KlEstimator::K2, KlEstimator::K3})
      EXPECT_NEAR(mean(estimator), exact, 10 * h * h * h);
  }
}

}  // namespace
}  // namespace sluice::learner
