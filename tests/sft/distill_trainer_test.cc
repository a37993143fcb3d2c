#include "sft/distill_trainer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "tests/float16_step.h"
#include "tests/step_gradient.h"
#include "tests/tiny_network.h"

namespace sluice::sft {
namespace {

const std::vector<Example> kExamples = {{.tokens = {3, 4, 5, 6, 7}, .weights = {0, 0, 1, 1, 2}},
                                        {.tokens = {8, 9, 10}, .weights = {0, 1, 1}},
                                        {.tokens = {11, 12, 13, 14}, .weights = {0, 0.5, 1, 1}}};

struct Student {
  explicit Student(const DistillOptions& options, int64_t micro_batch_tokens = 1 << 20,
                   const optim::OptimizerOptions& update = {.max_grad_norm = 0.0}, uint64_t teacher_seed = 8,
                   double sharpness = 1.0, std::unique_ptr<model::Network> student = tiny_network(7))
      : teacher(tiny_network(teacher_seed)),
        network(std::move(student)),
        optimizer(*network, collective, update, /*total_steps=*/200),
        trainer(*network, *teacher, optimizer, micro_batch_tokens, options) {
    const at::NoGradGuard no_grad;
    teacher->flat().mul_(sharpness);
    teacher->freeze();
  }

  at::Tensor grad() const { return step_gradient(optimizer); }

  std::unique_ptr<model::Network> teacher, network;
  transport::SoloCollective collective;
  optim::Optimizer optimizer;
  DistillTrainer trainer;
};

TEST(DistillTrainer, HasTheSameGradientHoweverItIsPacked) {
  at::Tensor whole;
  for (const int64_t rows : {1 << 20, 7, 1}) {
    Student student({.temperature = 2.0, .nll_weight = 0.5}, rows);
    const auto metrics = student.trainer.step(kExamples);
    if (!whole.defined()) whole = student.grad();
    EXPECT_LE((student.grad() - whole).norm().item<double>(), 1e-5 * whole.norm().item<double>());
    EXPECT_NEAR(metrics.at("loss"), 4 * metrics.at("kl") + 0.5 * metrics.at("nll"), 1e-5);
  }
}

// Without a KL to speak of it is supervised training: the teacher is the student itself.
TEST(DistillTrainer, LearnsTheDataAloneFromATeacherThatIsTheStudent) {
  Student student({.nll_weight = 1.0}, 1 << 20, {.max_grad_norm = 0.0}, /*teacher_seed=*/7);
  const auto metrics = student.trainer.step(kExamples);
  const auto grad = student.grad();
  EXPECT_NEAR(metrics.at("kl"), 0.0, 1e-6);

  auto alone = tiny_network(7);
  transport::SoloCollective collective;
  optim::Optimizer optimizer(*alone, collective, {.max_grad_norm = 0.0}, 200);
  const auto supervised = SftTrainer(*alone, optimizer, {}).step(kExamples);
  EXPECT_NEAR(metrics.at("loss"), supervised.at("loss"), 1e-5);
  EXPECT_NEAR(metrics.at("entropy"), supervised.at("entropy"), 1e-5);
  EXPECT_EQ(metrics.at("num_tokens"), 12);
  EXPECT_LE((grad - step_gradient(optimizer)).norm().item<double>(), 1e-4 * grad.norm().item<double>());
}

TEST(DistillTrainer, BringsTheStudentToTheTeacher) {
  for (const auto direction : {KlDirection::Forward, KlDirection::Reverse}) {
    Student student({.kl = direction}, 1 << 20, {.lr = 1e-2}, /*teacher_seed=*/8, /*sharpness=*/2.0);
    const double first = student.trainer.step(kExamples).at("kl");
    double last = first;
    for (int step = 0; step < 60; ++step) last = student.trainer.step(kExamples).at("kl");
    EXPECT_GT(first, 0.005);
    EXPECT_LT(last, 0.5 * first);
  }
}

TEST(DistillTrainer, ScalesItsLossForProductsOfFloat16) {
  expect_loss_scaled([](model::Rounding products) {
    Student student({.nll_weight = 0.5}, 1 << 20, {}, /*teacher_seed=*/8, /*sharpness=*/1.0,
                    with_products(products, tiny_network()));
    return student.trainer.step(kExamples).at("grad_norm");
  });
}

TEST(DistillTrainer, RefusesAStepWithoutExamples) {
  Student student({});
  EXPECT_THROW(student.trainer.step({}), DataError);
}

}  // namespace
}  // namespace sluice::sft
