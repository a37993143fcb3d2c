#include "learner/entropy_bonus.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/learner/packed_example.h"

namespace sluice::learner {
namespace {

TEST(EntropyBonus, JoinsTheTotalAsInTheSpecification) {
  const PackedExample packed("entropy_bonus_total_loss");
  const auto entropy = constant(packed.packed("inputs", "entropy"));
  EXPECT_NEAR(entropy.mean().item<double>(), packed.expected("mean_entropy"), 1e-12);
  // In two micro-batches of the step.
  const double bonus = entropy_bonus(entropy.narrow(0, 0, 1), 3, 0.01).item<double>() +
                       entropy_bonus(entropy.narrow(0, 1, 2), 3, 0.01).item<double>();
  const double total = packed.example["inputs"]["policy_loss"].get<double>() + bonus +
                       0.001 * packed.example["inputs"]["mean_kl"].get<double>();
  EXPECT_NEAR(total, packed.expected("total"), 1e-12);
  EXPECT_THROW(entropy_bonus(entropy, 2, 0.01), Error);
}

TEST(EntropyController, IsOneStepBehindWhatItMeasured) {
  const Json& example = spec_example("entropy_adaptive_coefficient");
  EntropyController controller{.coefficient = 0.01};
  const auto measured = example["inputs"]["measured_entropy"].get<std::vector<double>>();
  for (size_t i = 0; i < measured.size(); ++i) {
    EXPECT_NEAR(controller.applied(), example["expected"]["applied_coef"][i].get<double>(), 1e-12);
    controller.update(measured[i]);
    EXPECT_NEAR(controller.coefficient, example["expected"]["coef_after"][i].get<double>(), 1e-12);
  }
}

}  // namespace
}  // namespace sluice::learner
