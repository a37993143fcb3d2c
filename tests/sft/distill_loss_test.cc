#include "sft/distill_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace sluice::sft {
namespace {

// Two tokens that are equally likely to the student and 4 to 1 to the teacher.
const double kTeacher = std::log(4.0);

at::Tensor even() { return at::zeros({1, 2}, at::kDouble); }
at::Tensor four_to_one() { return at::tensor({kTeacher, 0.0}, at::kDouble).view({1, 2}); }

TEST(DistillKl, GoesFromTheTeacherOrFromTheStudent) {
  const double forward = 0.8 * std::log(0.8 / 0.5) + 0.2 * std::log(0.2 / 0.5);
  const double reverse = 0.5 * std::log(0.5 / 0.8) + 0.5 * std::log(0.5 / 0.2);
  EXPECT_NEAR(distill_kl(even(), four_to_one(), {}).item<double>(), forward, 1e-12);
  EXPECT_NEAR(distill_kl(even(), four_to_one(), {.kl = KlDirection::Reverse}).item<double>(), reverse, 1e-12);
  EXPECT_EQ(distill_kl(four_to_one(), four_to_one(), {}).item<double>(), 0.0);
}

TEST(DistillKl, IsTakenAtTheTemperature) {
  // 4 to 1 at temperature 2 is 2 to 1.
  const double p = 2.0 / 3.0;
  EXPECT_NEAR(distill_kl(even(), four_to_one(), {.temperature = 2.0}).item<double>(),
              p * std::log(p / 0.5) + (1 - p) * std::log((1 - p) / 0.5), 1e-12);
}

TEST(DistillKl, RefusesOtherShapesAndNoTemperature) {
  EXPECT_THROW(distill_kl(even(), at::zeros({1, 3}, at::kDouble), {}), Error);
  EXPECT_THROW(distill_kl(even(), four_to_one(), {.temperature = 0.0}), Error);
}

TEST(DistillLoss, CountsTheSquareOfTheTemperatureAndTheNllBeside) {
  const auto kl = at::tensor({0.5, 0.25}, at::kDouble), logprobs = at::tensor({-1.0, -2.0}, at::kDouble),
             weights = at::tensor({1.0, 2.0}, at::kDouble);
  EXPECT_NEAR(distill_loss(kl, logprobs, weights, /*step_weight=*/4.0, {}).item<double>(), 0.25, 1e-12);
  EXPECT_NEAR(
      distill_loss(kl, logprobs, weights, 4.0, {.temperature = 3.0, .nll_weight = 0.5}).item<double>(),
      9 * 0.25 + 0.5 * 5.0 / 4.0, 1e-12);
  EXPECT_THROW(distill_loss(kl, logprobs, at::ones({3}, at::kDouble), 4.0, {}), Error);
}

// The gradient in each logit against a step up and a step down.
TEST(DistillLoss, HasTheGradientOfItsFiniteDifferences) {
  const auto teacher = at::tensor({0.3, -1.2, 0.9, 0.1, 2.0, -0.4}, at::kDouble).view({2, 3});
  const auto weights = at::tensor({1.0, 0.5}, at::kDouble);
  const auto target = at::tensor({2, 0}, at::kLong).unsqueeze(1);
  for (const auto direction : {KlDirection::Forward, KlDirection::Reverse}) {
    const DistillOptions options{.temperature = 1.7, .kl = direction, .nll_weight = 0.3};
    const auto loss_of = [&](const at::Tensor& logits) {
      const auto logprobs = logits.log_softmax(-1).gather(1, target).squeeze(1);
      return distill_loss(distill_kl(logits, teacher, options), logprobs, weights, /*step_weight=*/1.5,
                          options);
    };
    const auto start = at::tensor({0.5, 0.2, -0.7, 1.1, 0.0, -0.3}, at::kDouble).view({2, 3});
    const auto logits = start.clone().requires_grad_();
    loss_of(logits).backward();
    const double h = 1e-5;
    for (int64_t i = 0; i < 6; ++i) {
      auto up = start.clone(), down = start.clone();
      up.view(-1)[i] += h;
      down.view(-1)[i] -= h;
      const double slope = (loss_of(up) - loss_of(down)).item<double>() / (2 * h);
      EXPECT_NEAR(logits.grad().view(-1)[i].item<double>(), slope, 1e-8);
    }
  }
}

TEST(DistillLoss, LeavesTheTeacherAlone) {
  const auto logits = even().requires_grad_(), teacher = four_to_one().requires_grad_();
  distill_kl(logits, teacher, {.kl = KlDirection::Reverse}).sum().backward();
  EXPECT_TRUE(logits.grad().defined());
  EXPECT_FALSE(teacher.grad().defined());
}

}  // namespace
}  // namespace sluice::sft
