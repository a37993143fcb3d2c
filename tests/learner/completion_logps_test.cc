#include "learner/completion_logps.h"

#include "tests/loss_checks.h"
#include "tests/spec_example.h"

namespace sluice::learner {
namespace {

std::vector<double> list(const Json& json) { return json.get<std::vector<double>>(); }

TEST(CompletionLogps, SumEachCompletionInFloat64) {
  const auto logprobs = trained({-1.0, -0.5, -3e-9, -2.0}, at::kFloat);
  const auto sums = completion_logps(logprobs, {3, 1});
  EXPECT_EQ(sums.scalar_type(), at::kDouble);
  expect_near(sums, {-1.500000003, -2.0});
  (sums * constant({2.0, 3.0})).sum().backward();
  expect_near(logprobs.grad(), {2, 2, 2, 3});
}

TEST(CompletionLogps, AreLengthDesensitisedAsInTheSpecification) {
  const Json& example = spec_example("dpo_length_desensitised_logp");
  const double ld_alpha = example["hyperparameters"]["ld_alpha"].get<double>();
  const auto chosen = trained(list(example["inputs"]["chosen_token_logps"]));
  const auto rejected = constant(list(example["inputs"]["rejected_token_logps"]));

  const auto chosen_logp = completion_logps(chosen, {5}, ld_weights({5}, {3}, ld_alpha));
  expect_near(chosen_logp, {example["expected"]["chosen_logp"].get<double>()});
  expect_near(completion_logps(rejected, {3}, ld_weights({3}, {5}, ld_alpha)),
              {example["expected"]["rejected_logp"].get<double>()});

  chosen_logp.sum().backward();
  expect_near(chosen.grad(), {1, 1, 1, 0.5, 0.5});
}

TEST(WpoWeights, AreThoseOfTheSpecificationWithoutAGradient) {
  const Json& example = spec_example("dpo_wpo_weight");
  std::vector<at::Tensor> rows;
  for (const auto& row : example["inputs"]["logits"]) rows.push_back(constant(list(row)));
  const auto logits = at::stack(rows).requires_grad_();
  const auto targets = at::tensor(example["inputs"]["targets"].get<std::vector<int64_t>>(), at::kLong);
  const auto logprobs = logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1);

  const auto weights = wpo_weights(logprobs, log_collision(logits), {2});
  expect_near(weights, {example["expected"]["weight"].get<double>()});
  EXPECT_FALSE(weights.requires_grad());
}

TEST(CompletionLogps, RefuseWhatDoesNotFit) {
  const auto three = constant({-1, -2, -3});
  expect_refused([&] { completion_logps(three, {2, 2}); }, "logprobs is [3], the completions have 4 tokens");
  expect_refused([&] { completion_logps(three, {3, 0}); }, "completion 1 has 0 tokens");
  expect_refused([&] { completion_logps(three, {3}, constant({1, 1})); }, "weights is [2]");
  expect_refused([&] { wpo_weights(three, constant({-1}), {3}); }, "collision is [1]");
  expect_refused([&] { ld_weights({3, 1}, {2}, 0.5); }, "2 completions and 1 others");
  expect_refused([&] { ld_weights({3}, {2}, 1.5); }, "ld_alpha is 1.5");
  expect_refused([&] { log_collision(three); }, "logits is [3]");
}

}  // namespace
}  // namespace sluice::learner
