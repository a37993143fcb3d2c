#include "learner/coefficients.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sluice::learner {
namespace {

TEST(Coefficients, StayAsTheyAreWithoutATarget) {
  Coefficients coefficients({.beta = 0.05, .entropy = 0.01});
  coefficients.after_step(/*sequence_kl=*/9.0, /*num_sequences=*/5000, /*entropy=*/0.0);
  EXPECT_EQ(coefficients.kl(), 0.05);
  EXPECT_EQ(coefficients.entropy(), 0.01);
}

TEST(Coefficients, FollowTheirTargets) {
  Coefficients coefficients({.beta = 0.2, .kl_target = 0.1, .entropy = 0.01, .entropy_target = 0.2});
  EXPECT_EQ(coefficients.entropy(), 0.0);  // nothing is applied before the first measurement

  coefficients.after_step(0.15, 64, 0.15);
  EXPECT_NEAR(coefficients.kl(), 0.200256, 1e-12);  // the specification's adaptive controller
  EXPECT_NEAR(coefficients.entropy(), 0.015, 1e-12);
  coefficients.after_step(std::nullopt, 64, 0.3);
  EXPECT_NEAR(coefficients.kl(), 0.200256, 1e-12);
  EXPECT_EQ(coefficients.entropy(), 0.0);  // the entropy was above its target
}

TEST(Coefficients, GoOnFromTheirStateWithTheSameNumbers) {
  const CoefficientOptions options{.beta = 0.1, .kl_target = 0.3, .entropy = 0.0, .entropy_target = 0.5};
  Coefficients coefficients(options), resumed(options);
  coefficients.after_step(1.0 / 3.0, 7, 0.4);

  resumed.load(parse_json(coefficients.state().dump(), "state"), "state");

  EXPECT_EQ(resumed.kl(), coefficients.kl());
  EXPECT_EQ(resumed.entropy(), coefficients.entropy());
  EXPECT_GT(resumed.entropy(), 0.0);
  EXPECT_THROW(resumed.load({{"kl", -1.0}, {"entropy", 0.0}}, "learner.json"), DataError);
}

TEST(Coefficients, RefuseATargetThatNothingCanReach) {
  EXPECT_THROW(Coefficients({.beta = 0.0, .kl_target = 0.1}), Error);
}

}  // namespace
}  // namespace sluice::learner
