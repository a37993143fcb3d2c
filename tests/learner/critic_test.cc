#include "learner/critic.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>

#include "base/error.h"
#include "model/scalar_head.h"
#include "tests/base/temp_folder.h"
#include "tests/float16_step.h"
#include "tests/learner/number_checks.h"
#include "tests/learner/rollouts.h"
#include "tests/plain_logprobs.h"
#include "tests/split_step.h"
#include "tests/step_gradient.h"
#include "tests/tiny_network.h"

namespace sluice::learner {
namespace {

constexpr AdvantageOptions kByCritic{.baseline = Baseline::Critic};

// Whose head is zeros: every value is 0.
std::unique_ptr<model::Network> silent_critic() {
  auto network = model::with_scalar_head(*tiny_network(), /*seed=*/3);
  const c10::NoGradGuard no_grad;
  network->parameters().back().tensor.zero_();
  return network;
}

struct Ppo {
  explicit Ppo(const PolicyLearnerOptions& options,
               std::unique_ptr<model::Network> value_model = silent_critic(), double critic_lr = 0.0)
      : values(std::move(value_model)),
        optimizer(*network, collective, {.lr = 0.0, .max_grad_norm = 0}, /*total_steps=*/100),
        values_optimizer(*values, collective, {.lr = critic_lr, .max_grad_norm = 0}, 100),
        critic(*values, values_optimizer, /*clip=*/0.2),
        learner(*network, &reference, optimizer, options, &critic) {}

  transport::SoloCollective collective;
  std::unique_ptr<model::Network> network = tiny_network(), values;
  reference::ReferencePolicy reference{tiny_network(/*seed=*/8)};
  optim::Optimizer optimizer, values_optimizer;
  Critic critic;
  PolicyLearner learner;
};

TrainingBatch batch_of(std::vector<buffers::RolloutGroup> groups) {
  return make_training_batch(0, std::move(groups), {1.0}, kByCritic, /*max_new_tokens=*/16);
}

// Rewards of 1 and 0 for three tokens and one: the returns are 1, 1, 1 and 0.
TrainingBatch four_tokens() {
  return batch_of({group_of({1, 3}, {completion_of({5, 6, 7}, 1.0), completion_of({9}, 0.0)})});
}

// The token in the middle is not the policy's: the values are those behind the prompt 1 3 and behind 1 3 5 6.
TEST(Critic, ValuesAreThoseOfTheStateBeforeEachChosenToken) {
  const auto network = model::with_scalar_head(*tiny_network(), /*seed=*/3);
  Ppo ppo({.advantage = kByCritic}, model::with_scalar_head(*tiny_network(), /*seed=*/3));
  auto completion = completion_of({5, 6, 7}, 1.0);
  completion.mask = {1, 0, 1};
  const auto micro =
      cut_into_micro_batches(batch_of({group_of({1, 3}, {completion})}), 100, at::kCPU).front();

  const auto values = ppo.critic.values(micro).tokens;

  model::PackedBatchBuilder rows;
  rows.add(std::vector<int32_t>{1, 3, 5, 6, 7});
  const auto expected = network->scores(rows.build(at::kCPU), at::tensor({1, 3}, at::kLong));
  ASSERT_EQ(values.sizes(), expected.sizes());
  EXPECT_FALSE(values.requires_grad());
  EXPECT_TRUE(at::allclose(values, expected, 1e-5, 1e-6)) << values << expected;
  EXPECT_GT(values.abs().sum().item<double>(), 1e-3);
}

constexpr AdvantageOptions kBootstrapped{.baseline = Baseline::Critic, .bootstrap_truncated = true};

buffers::Completion cut(buffers::Completion completion) {
  completion.finish = buffers::FinishReason::Length;
  return completion;
}

// Neither of the last two tokens is the policy's: the state behind 1 3 5 6 7 is asked about all the same.
TEST(Critic, ValuesBehindACutCompletionAreThoseOfItsLastToken) {
  const auto network = model::with_scalar_head(*tiny_network(), /*seed=*/3);
  Ppo ppo({.advantage = kBootstrapped}, model::with_scalar_head(*tiny_network(), /*seed=*/3));
  auto completion = cut(completion_of({5, 6, 7}, 1.0));
  completion.mask = {1, 0, 0};
  const auto groups =
      std::vector{group_of({1, 3}, {completion_of({8}, 0.0), completion, completion_of({9}, 0.0)})};
  for (const auto& options : {kBootstrapped, kByCritic}) {
    const auto batch = make_training_batch(0, groups, {1.0}, options, /*max_new_tokens=*/3);
    const auto values = ppo.critic.values(cut_into_micro_batches(batch, 100, at::kCPU).front());

    model::PackedBatchBuilder rows;
    rows.add(std::vector<int32_t>{1, 3, 5, 6, 7});
    const auto expected = network->scores(rows.build(at::kCPU), at::tensor({1, 1, 1, 4}, at::kLong));
    EXPECT_TRUE(at::allclose(values.tokens, expected.narrow(0, 0, 3), 1e-5, 1e-6));
    const auto ends = expected.narrow(0, 3, options.bootstrap_truncated ? 1 : 0);
    ASSERT_EQ(values.ends.sizes(), ends.sizes());
    EXPECT_TRUE(at::allclose(values.ends, ends, 1e-5, 1e-6));
  }
}

// A critic whose head is fitted to say this of the states before these tokens and behind the last one.
std::unique_ptr<model::Network> critic_that_says(const std::vector<double>& values,
                                                 std::vector<int32_t> prompt,
                                                 const std::vector<int32_t>& tokens) {
  auto network = model::with_scalar_head(*tiny_network(), /*seed=*/3);
  const auto first = std::ssize(prompt) - 1;
  prompt.insert(prompt.end(), tokens.begin(), tokens.end());
  model::PackedBatchBuilder rows;
  rows.add(prompt);
  const c10::NoGradGuard no_grad;
  const auto hidden = network->forward(rows.build(at::kCPU)).to(at::kDouble);  // [rows, hidden]
  const auto states = hidden.narrow(0, first, std::ssize(values));
  const auto head = at::linalg_pinv(states).mv(at::tensor(values, at::kDouble));
  network->parameters().back().tensor.copy_(head.view({1, -1}));
  return network;
}

// The example of the specification as a step sees it: three tokens, 0.3 for them all, and a critic that says
// 0.5, 0.4 and 0.6 before them. A completion that ended by itself goes on with nothing.
TEST(Critic, SaysWhatACutCompletionWouldHaveEarnedAsInTheSpecification) {
  const Json& example = spec_example("adv_gae_bootstrap_truncated");
  auto values = numbers(example, "inputs", "values");
  const double behind = example["inputs"]["bootstrap_value"];
  values.push_back(behind);
  const std::vector<int32_t> prompt = {1, 3}, tokens = {5, 6, 7};
  const auto step = [&](const AdvantageOptions& advantage, const buffers::Completion& completion) {
    Ppo ppo({.advantage = advantage, .gamma = 0.99, .lambda = 0.95},
            critic_that_says(values, prompt, tokens));
    return ppo.learner.step(make_training_batch(0, {group_of(prompt, {completion})}, {1.0}, advantage, 16),
                            0);
  };
  const auto expect = [](const StepMetrics& metrics, const std::string& name,
                         const std::vector<double>& expected) {
    SCOPED_TRACE(name);
    EXPECT_NEAR(metrics.at(name + "/mean"), (expected[0] + expected[1] + expected[2]) / 3, 1e-5);
    EXPECT_NEAR(metrics.at(name + "/min"), std::ranges::min(expected), 1e-5);
    EXPECT_NEAR(metrics.at(name + "/max"), std::ranges::max(expected), 1e-5);
  };
  const auto ended = completion_of(tokens, 0.3);

  const auto bootstrapped = step(kBootstrapped, cut(ended));
  expect(bootstrapped, "values", {0.5, 0.4, 0.6});  // of the tokens alone
  expect(bootstrapped, "advantages", numbers(example, "expected", "advantages_raw"));
  expect(bootstrapped, "returns", numbers(example, "expected", "returns"));

  // The last difference is 0.3 - 0.6; the others 0.99 * 0.6 - 0.4 and 0.99 * 0.4 - 0.5.
  const std::vector<double> without = {-0.104 + 0.9405 * (0.194 - 0.9405 * 0.3), 0.194 - 0.9405 * 0.3, -0.3};
  expect(step(kBootstrapped, ended), "advantages", without);
  expect(step(kByCritic, cut(ended)), "advantages", without);
}

TEST(Critic, MeasuresItselfByTheNamesOfTheSpecification) {
  Ppo ppo({.advantage = kByCritic, .lambda = 1.0});
  const auto metrics = ppo.learner.step(four_tokens(), 0);
  EXPECT_EQ(metrics.at("values/mean"), 0.0);
  EXPECT_EQ(metrics.at("returns/mean"), 0.75);
  EXPECT_EQ(metrics.at("returns/max"), 1.0);
  EXPECT_NEAR(metrics.at("value_loss"), 0.5 * 3 / 4, 1e-6);
  EXPECT_NEAR(metrics.at("vf_explained_var"), 0.0, 1e-4);
  EXPECT_EQ(metrics.at("vf_clipfrac"), 0.0);
  EXPECT_GT(metrics.at("critic/grad_norm"), 0.0);
  EXPECT_EQ(metrics.at("critic/nonfinite_skips"), 0.0);
}

// Best is 1/2 behind the prompt, where 1 and 0 follow: a loss of (1/4 + 1/4) / 2 / 4.
TEST(Critic, LearnsWhatIsToBeExpected) {
  Ppo ppo({.advantage = kByCritic, .lambda = 1.0}, silent_critic(), /*critic_lr=*/1e-2);
  double loss = 0.0;
  for (int i = 0; i < 100; ++i) loss = ppo.learner.step(four_tokens(), 0).at("value_loss");
  EXPECT_LT(loss, 0.08);
  EXPECT_GE(loss, 0.0624);
}

TEST(Critic, LearnsNothingFromACompletionWithoutAScore) {
  Ppo with({.advantage = kByCritic, .lambda = 1.0}), without({.advantage = kByCritic, .lambda = 1.0});
  const auto scored = completion_of({5, 6}, 1.0);
  const auto unscored = completion_of({9, 10}, std::nullopt);
  const auto metrics = with.learner.step(batch_of({group_of({1, 3}, {scored, unscored})}), 0);
  without.learner.step(batch_of({group_of({1, 3}, {scored})}), 0);
  EXPECT_EQ(metrics.at("returns/mean"), 1.0);
  // It counts among the tokens of the mean all the same.
  EXPECT_TRUE(at::allclose(step_gradient(with.values_optimizer) * 2, step_gradient(without.values_optimizer),
                           1e-4, 1e-6));
}

// Of nothing but cut completions that are left out, and of one whose tokens are none of the policy's.
TEST(Critic, LearnsNothingInAStepWithoutAChosenToken) {
  auto masked = completion_of({5, 6}, 1.0);
  masked.mask = {0, 0};
  const AdvantageOptions leaves_out{.baseline = Baseline::Critic, .mask_truncated = true};
  for (const auto& completion : {masked, cut(completion_of({5, 6}, 1.0))}) {
    Ppo ppo({.advantage = leaves_out}, silent_critic(), /*critic_lr=*/1e-2);
    const auto groups = std::vector{group_of({1, 3}, {completion, completion})};
    const auto metrics = ppo.learner.step(make_training_batch(0, groups, {1.0}, leaves_out, 16), 0);
    EXPECT_EQ(ppo.values_optimizer.num_steps(), 0);
    EXPECT_FALSE(metrics.contains("value_loss"));
    EXPECT_FALSE(metrics.contains("values/mean"));
  }
}

TEST(Critic, SkipsAnUpdateWhoseLossIsNotFinite) {
  Ppo ppo({.advantage = kByCritic}, silent_critic(), /*critic_lr=*/1e-2);
  auto batch = four_tokens();
  batch.rewards[0][0] = std::numeric_limits<double>::infinity();
  const auto before = ppo.values->flat().clone();
  EXPECT_EQ(ppo.learner.step(batch, 0).at("nonfinite_skips"), 1.0);  // of both: the policy's is not either
  EXPECT_TRUE(at::equal(ppo.values->flat(), before));
}

// Spec: PPO with gamma = lambda = 1 and no value equals REINFORCE.
TEST(Critic, OfNoValuesMakesPpoReinforce) {
  const auto groups = random_groups(5, /*seed=*/5);
  Ppo ppo({.aggregation = Aggregation::SeqMeanTokenSum,
           .advantage = kByCritic,
           .gamma = 1.0,
           .lambda = 1.0,
           .old_policy = OldPolicy::Proximal,
           .correction = {.kind = Correction::None}});
  ppo.learner.step(batch_of(groups), 0);

  transport::SoloCollective collective;
  const auto network = tiny_network();
  const AdvantageOptions none{.baseline = Baseline::None};
  optim::Optimizer optimizer(*network, collective, {.lr = 0.0, .max_grad_norm = 0}, 100);
  PolicyLearner reinforce(*network, nullptr, optimizer,
                          {.loss = {.surrogate = Surrogate::Reinforce},
                           .aggregation = Aggregation::SeqMeanTokenSum,
                           .advantage = none});
  reinforce.step(make_training_batch(0, groups, {1.0}, none, 16), 0);

  const auto grad = step_gradient(optimizer);
  EXPECT_GT(grad.norm().item<double>(), 1e-3);
  EXPECT_LE((step_gradient(ppo.optimizer) - grad).norm().item<double>(), 1e-5 * grad.norm().item<double>());
}

TEST(Critic, HasTheSameGradientHoweverTheStepIsCut) {
  auto groups = random_groups(6, /*seed=*/5);
  for (auto& group : groups) group.completions[1] = cut(group.completions[1]);
  auto advantage = kBootstrapped;
  advantage.whitening = Whitening::Tokens;
  const auto batch = make_training_batch(0, groups, {1.0}, advantage, /*max_new_tokens=*/16);
  at::Tensor policy, critic;
  for (const int64_t rows : {1 << 20, 40, 1}) {
    Ppo ppo({.loss = {.beta = 0.05},
             .aggregation = Aggregation::TokenMean,
             .advantage = advantage,
             .kl_in_reward = true,
             .micro_batch_tokens = rows},
            model::with_scalar_head(*tiny_network(), /*seed=*/3));
    ppo.learner.step(batch, 4);
    if (!policy.defined()) {
      policy = step_gradient(ppo.optimizer);
      critic = step_gradient(ppo.values_optimizer);
    }
    EXPECT_LE((step_gradient(ppo.optimizer) - policy).norm().item<double>(),
              1e-5 * policy.norm().item<double>());
    EXPECT_LE((step_gradient(ppo.values_optimizer) - critic).norm().item<double>(),
              1e-5 * critic.norm().item<double>());
  }
  EXPECT_GT(policy.norm().item<double>(), 1e-4);
  EXPECT_GT(critic.norm().item<double>(), 1e-4);
}

// With old values on both sides of the clip, and every fifth return unknown.
TEST(Critic, HasTheGradientOfEachCompletionByItself) {
  const auto batch = batch_of(random_groups(3, /*seed=*/5));
  const auto micro = cut_into_micro_batches(batch, 1 << 20, at::kCPU).front();
  for (const auto type : {at::kDouble, at::kFloat}) {
    const auto packed = model::with_scalar_head(*tiny_network_of(type, 7), /*seed=*/3),
               plain = model::with_scalar_head(*tiny_network_of(type, 7), /*seed=*/3);
    const auto values = plain_scores(*plain, micro.batch, micro.targets.rows);
    const int64_t tokens = values.numel();
    const auto spread = at::linspace(-1.0, 1.0, tokens, values.options().requires_grad(false));
    const auto old_values = values.detach() + 0.4 * spread;
    const auto known = at::arange(tokens).remainder(5).nonzero().squeeze(1);
    const auto returns = at::full_like(spread, std::numeric_limits<double>::quiet_NaN())
                             .index_copy(0, known, spread.flip(0).index_select(0, known));
    const auto of_known = [&](const at::Tensor& all) { return all.index_select(0, known); };
    const auto near = at::clamp(values, old_values - 0.2, old_values + 0.2);
    const auto error = (of_known(values) - of_known(returns)).square(),
               clipped = (of_known(near) - of_known(returns)).square();
    (at::maximum(error, clipped).sum() / (2.0 * static_cast<double>(tokens))).backward();
    EXPECT_GT(clipped.gt(error).sum().item<int64_t>(), 0);

    OptimizerOfAnother other;
    Critic critic(*packed, other.optimizer, /*clip=*/0.2);
    critic.begin();
    critic.learn(micro, old_values, returns, batch.denominators);
    expect_same_gradient(gradient_of(*packed), gradient_of(*plain));
  }
}

TEST(Critic, ScalesItsLossForProductsOfFloat16) {
  expect_loss_scaled([](model::Rounding products) {
    Ppo ppo({.advantage = kByCritic},
            with_products(products, model::with_scalar_head(*tiny_network(), /*seed=*/3)));
    return fitted_norm([&] {
      const auto metrics = ppo.learner.step(four_tokens(), 0);
      const auto found = metrics.find("critic/grad_norm");  // an overflow has none
      return found == metrics.end() ? std::numeric_limits<double>::quiet_NaN() : found->second;
    });
  });
}

TEST(Critic, IsUpdatedAsOftenAsThePolicyAndHeldToItsClip) {
  Ppo ppo({.advantage = kByCritic, .epochs = 3, .minibatches = 2}, silent_critic(), /*critic_lr=*/0.03);
  const auto metrics = ppo.learner.step(batch_of(random_groups(4, /*seed=*/5)), 4);
  EXPECT_EQ(ppo.values_optimizer.num_steps(), 6);
  EXPECT_GT(metrics.at("vf_clipfrac"), 0.0);
  EXPECT_EQ(metrics.at("values/max"), 0.0);  // those before the step
}

TEST(Critic, LearnsAloneBeforeThePolicyDoes) {
  Ppo ppo({.advantage = kByCritic, .critic_warmup = 2}, silent_critic(), /*critic_lr=*/1e-2);
  for (int64_t version = 0; version < 3; ++version) {
    const auto metrics = ppo.learner.step(four_tokens(), version);
    EXPECT_EQ(ppo.values_optimizer.num_steps(), version + 1);
    EXPECT_EQ(ppo.optimizer.num_steps(), version < 2 ? 0 : 1);
    EXPECT_EQ(metrics.contains("grad_norm"), version == 2);
    EXPECT_TRUE(metrics.contains("entropy"));  // the policy is measured all the same
  }
}

TEST(Critic, LearnsNothingAloneFromABatchWithAFault) {
  Ppo ppo({.advantage = kByCritic, .critic_warmup = 2}, silent_critic(), /*critic_lr=*/1e-2);
  auto groups = random_groups(2, /*seed=*/5);
  groups[0].completions[0].logprobs[0] = std::numeric_limits<float>::quiet_NaN();
  const auto before = ppo.values->flat().clone();

  ppo.learner.step(batch_of(groups), 0);

  EXPECT_TRUE(at::equal(ppo.values->flat(), before));
  EXPECT_EQ(ppo.learner.fault().poisoned, (std::map<size_t, std::string>{{0, ppo.learner.fault().cause}}));
}

TEST(Critic, IsThereExactlyWhereItIsTheBaseline) {
  EXPECT_THROW(Ppo({.advantage = {.baseline = Baseline::None}}), Error);
  transport::SoloCollective collective;
  const auto network = tiny_network();
  optim::Optimizer optimizer(*network, collective, {}, 100);
  EXPECT_THROW(PolicyLearner(*network, nullptr, optimizer, {.advantage = kByCritic}), Error);
  EXPECT_EQ(message_of<Error>([&] { Critic(*network, optimizer, 0.2); }),
            "Critic: the network has no scalar head");
}

}  // namespace
}  // namespace sluice::learner
