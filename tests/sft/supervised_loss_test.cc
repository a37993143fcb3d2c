#include "sft/supervised_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "model/operators.h"
#include "tests/spec_example.h"

namespace sluice::sft {
namespace {

using Rows = std::vector<std::vector<std::vector<double>>>;  // [sequences, positions, vocab]

at::Tensor tensor_of(const Json& rows) {
  std::vector<float> values;
  for (const auto& sequence : rows.get<Rows>()) {
    for (const auto& row : sequence) values.insert(values.end(), row.begin(), row.end());
  }
  return at::tensor(values).view({-1, 5});
}

// With the identity as output matrix the hidden states are the logits.
void expect_specified(const Json& example, LossKind kind) {
  const auto labels = example["inputs"]["labels"].get<std::vector<std::vector<int64_t>>>();
  std::vector<int64_t> rows, tokens;
  for (size_t s = 0; s < labels.size(); ++s) {
    for (size_t p = 0; p + 1 < labels[s].size(); ++p) {
      if (labels[s][p + 1] == -100) continue;
      rows.push_back(static_cast<int64_t>(s * labels[s].size() + p));
      tokens.push_back(labels[s][p + 1]);
    }
  }
  const auto hidden = tensor_of(example["inputs"]["logits"]).requires_grad_();
  const auto out = model::token_logprobs(hidden.index_select(0, at::tensor(rows, at::kLong)), at::eye(5),
                                         at::tensor(tokens, at::kLong), {});

  const auto loss =
      supervised_loss(out.logprobs, at::ones(std::ssize(rows)), static_cast<double>(rows.size()), kind);
  loss.backward();

  EXPECT_EQ(std::ssize(rows), example["expected"]["num_targets"].get<int64_t>());
  EXPECT_NEAR(loss.item<double>(), example["expected"]["loss"].get<double>(), 1e-6);
  const auto off = hidden.grad() - tensor_of(example["expected"]["grad_logits"]);
  EXPECT_LE(off.abs().max().item<double>(), 1e-6);
}

TEST(SupervisedLoss, IsTheCrossEntropyOfTheSpecification) {
  expect_specified(spec_example("sft_cross_entropy"), LossKind::Nll);
}

TEST(SupervisedLoss, IsTheDftOfTheSpecification) { expect_specified(spec_example("sft_dft"), LossKind::Dft); }

TEST(SupervisedLoss, CountsEachTokenByItsWeight) {
  const auto logprobs = at::tensor({-1.0f, -2.0f}).requires_grad_();

  const auto loss = supervised_loss(logprobs, at::tensor({2.0f, 0.5f}), /*step_weight=*/5.0);
  loss.backward();

  EXPECT_NEAR(loss.item<double>(), 0.6, 1e-6);  // (2 * 1 + 0.5 * 2) / 5
  EXPECT_TRUE(at::allclose(logprobs.grad(), at::tensor({-0.4f, -0.1f})));
}

TEST(SupervisedLoss, HoldsTheProbabilityOfDftConstantAndWeighsIt) {
  const auto logprobs = at::tensor({std::log(0.5f), std::log(0.25f)}).requires_grad_();

  const auto loss = supervised_loss(logprobs, at::tensor({2.0f, 1.0f}), /*step_weight=*/4.0, LossKind::Dft);
  loss.backward();

  EXPECT_NEAR(loss.item<double>(), 1.5 * std::log(2.0) / 4.0, 1e-6);  // 2 * 0.5 * log 2 + 0.25 * log 4
  EXPECT_TRUE(at::allclose(logprobs.grad(), at::tensor({-0.25f, -0.0625f})));  // -weight * p / 4
}

TEST(SupervisedLoss, RefusesAStepThatWeighsNothingAndShapesThatDisagree) {
  EXPECT_THROW(supervised_loss(at::zeros(2), at::zeros(2), 0.0), Error);
  EXPECT_THROW(supervised_loss(at::zeros(2), at::ones(3), 3.0), Error);
}

}  // namespace
}  // namespace sluice::sft
