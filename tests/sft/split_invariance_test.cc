// The gradient of a supervised step is the same whatever packs and ranks it is cut into, and in whatever
// order its examples come, and that of each example by itself.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "base/philox.h"
#include "model/scalar_head.h"
#include "sft/distill_trainer.h"
#include "sft/reward_loss.h"
#include "sft/reward_trainer.h"
#include "sft/sft_trainer.h"
#include "sft/supervised_batch.h"
#include "sft/supervised_loss.h"
#include "tests/early_sums.h"
#include "tests/plain_logprobs.h"
#include "tests/rank_steps.h"
#include "tests/spawn_ranks.h"
#include "tests/split_step.h"

namespace sluice::sft {
namespace {

double uniform(uint64_t draw) { return random_uniform(/*seed=*/3, RandomUse::Data, 1, 0, draw); }

// Examples of 3 to 14 tokens, the first of which is not learned; weights of 1 to 2.5.
std::vector<Example> make_examples(size_t count) {
  uint64_t draws = 0;
  std::vector<Example> examples(count);
  for (auto& [tokens, weights] : examples) {
    const int length = 3 + static_cast<int>(12 * uniform(draws++));
    for (int t = 0; t < length; ++t) {
      tokens.push_back(static_cast<int32_t>(23 * uniform(draws++)));
      weights.push_back(t == 0 ? 0.0f
                               : 1.0f + static_cast<float>(static_cast<int>(4 * uniform(draws++))) / 2);
    }
  }
  return examples;
}

// Of some examples of a step whose weights sum up to `step_weight`.
at::Tensor gradient(model::Network& network, std::span<const Example> examples, double step_weight,
                    LossKind kind, int64_t rows, bool plain = false) {
  for (const auto& parameter : network.parameters()) parameter.tensor.mutable_grad().reset();
  for (const auto& pack : pack_examples(examples, rows, at::kCPU)) {
    const auto logprobs = plain ? plain_logprobs(network, pack.batch, pack.targets)
                                : network.logprobs(pack.batch, pack.targets, 1.0).logprobs;
    supervised_loss(logprobs, pack.weights, step_weight, kind).backward();
  }
  return gradient_of(network).clone();
}

double weight_of(std::span<const Example> examples) {
  double sum = 0.0;
  for (const auto& example : examples) sum += total_weight(example);
  return sum;
}

class SupervisedSplit : public testing::TestWithParam<std::tuple<LossKind, at::ScalarType>> {};

TEST_P(SupervisedSplit, HasTheSameGradientHoweverItIsCutAndOrdered) {
  const auto [kind, type] = GetParam();
  const auto examples = make_examples(9);
  auto reversed = examples;
  std::ranges::reverse(reversed);
  const double step = weight_of(examples);
  const auto network = tiny_network_of(type, 7);
  const auto whole = gradient(*network, examples, step, kind, kSplits[0]);
  for (const int64_t rows : kSplits) {
    expect_same_gradient(gradient(*network, examples, step, kind, rows), whole);
    expect_same_gradient(gradient(*network, reversed, step, kind, rows), whole);
  }
}

TEST_P(SupervisedSplit, HasTheGradientOfWholeLogitsOfEachExampleByItself) {
  const auto [kind, type] = GetParam();
  const auto examples = make_examples(9);
  const double step = weight_of(examples);
  const auto network = tiny_network_of(type, 7);
  expect_same_gradient(gradient(*network, examples, step, kind, kSplits[0]),
                       gradient(*network, examples, step, kind, kSplits[0], /*plain=*/true));
}

TEST_P(SupervisedSplit, HasTheSameGradientOverRanks) {
  const auto [kind, type] = GetParam();
  const auto examples = make_examples(9);
  const double step = weight_of(examples);
  const auto whole = gradient(*tiny_network_of(type, 7), examples, step, kind, kSplits[0]);
  for (const std::vector<size_t>& shares : {std::vector<size_t>{6, 3}, {4, 3, 1, 1}}) {
    spawn_ranks(std::ssize(shares), [&, kind = kind, type = type](transport::Collective& group) {
      const auto rank = static_cast<size_t>(group.rank());
      const auto first = std::accumulate(shares.begin(), shares.begin() + group.rank(), size_t{0});
      const auto own = std::span(examples).subspan(first, shares[rank]);
      auto sum = gradient(*tiny_network_of(type, 7), own, step, kind, /*rows=*/20);
      group.all_reduce_sum(sum);
      expect_same_gradient(sum, whole);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Every, SupervisedSplit,
                         testing::Combine(testing::Values(LossKind::Nll, LossKind::Dft),
                                          testing::Values(at::kDouble, at::kFloat)));

// The trainer itself, in either type: its optimizer moves another network.
TEST(DistillSplit, HasTheGradientOfWholeLogitsOfEachExampleByItself) {
  const auto examples = make_examples(9);
  const double step = weight_of(examples);
  const auto pack = pack_examples(examples, kSplits[0], at::kCPU).front();
  for (const auto type : {at::kDouble, at::kFloat}) {
    const auto teacher = tiny_network_of(type, 8);
    teacher->freeze();
    for (const auto& options : {DistillOptions{.temperature = 2.0},
                                {.temperature = 0.5, .kl = KlDirection::Reverse},
                                {.nll_weight = 0.5}}) {
      const auto plain = tiny_network_of(type, 7);
      const auto logits = plain_logits(*plain, pack.batch, pack.targets.rows);
      const auto tempered = [&](const at::Tensor& all) { return (all / options.temperature).log_softmax(1); };
      const auto student = tempered(logits),
                 taught = tempered(plain_logits(*teacher, pack.batch, pack.targets.rows));
      const auto kl = options.kl == KlDirection::Forward ? (taught.exp() * (taught - student)).sum(1)
                                                         : (student.exp() * (student - taught)).sum(1);
      const auto nll = -logits.log_softmax(1).gather(1, pack.targets.tokens.unsqueeze(1)).squeeze(1);
      const auto loss = options.temperature * options.temperature * kl + options.nll_weight * nll;
      ((pack.weights * loss).sum() / step).backward();

      for (const int64_t rows : kSplits) {
        const auto network = tiny_network_of(type, 7);
        OptimizerOfAnother other;
        DistillTrainer(*network, *teacher, other.optimizer, rows, options).step(examples);
        expect_same_gradient(gradient_of(*network), gradient_of(*plain));
      }
    }
  }
}

// What a trainer makes of a network on each rank.
RankOutcome train(const model::Network& network, const optim::Optimizer& optimizer,
                  const std::function<StepMetrics(int64_t step)>& learn, const std::string& shard = "none") {
  RankOutcome outcome;
  for (int64_t step = 0; step < rank_steps(shard); ++step) {
    outcome.last = learn(step);
    if (step == 0) outcome.first = outcome.last;
  }
  outcome.weights = shared_weights(network, optimizer);
  return outcome;
}

std::vector<Example> examples_of_step(int64_t step) {
  return make_examples(static_cast<size_t>(5 + step % 3));
}

std::vector<ComparedPair> make_pairs(size_t count) {
  std::vector<ComparedPair> pairs;
  const auto examples = make_examples(3 * count);
  for (size_t i = 0; i < count; ++i) {
    pairs.push_back({.prompt = examples[3 * i].tokens,
                     .chosen = examples[3 * i + 1].tokens,
                     .rejected = examples[3 * i + 2].tokens});
  }
  return pairs;
}

// Whatever a rank has a part of alone.
class SharedOut : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Every, SharedOut, testing::Values("none", "weights"),
                         [](const auto& named) { return std::string(named.param); });

TEST_P(SharedOut, LearnsWhatOneLearns) {
  expect_as_on_one_rank([](transport::Collective& ranks) {
    const auto network = tiny_network_of(at::kFloat, 7);
    optim::Optimizer optimizer(*network, ranks, {.lr = 1e-3, .shard = GetParam()}, /*total_steps=*/100);
    SftTrainer trainer(*network, optimizer, {.micro_batch_tokens = 40, .noise = {.alpha = 5.0, .seed = 1}});
    return train(
        *network, optimizer, [&](int64_t step) { return trainer.step(examples_of_step(step), step); },
        GetParam());
  });
}

TEST(SupervisedRanks, LearnWhatOneLearnsWhereSumsBeginInTheBackward) {
  expect_as_on_one_rank([](transport::Collective& ranks) {
    const auto network = wide_network();
    optim::Optimizer optimizer(*network, ranks, {.lr = 1e-4}, /*total_steps=*/100);
    SftTrainer trainer(*network, optimizer, {.micro_batch_tokens = 20});
    return train(*network, optimizer,
                 [&](int64_t step) { return trainer.step(examples_of_step(step), step); });
  });
}

TEST(SupervisedRanks, BeginToSumInTheLastBackward) {
  EarlySums ranks;
  const auto network = wide_network();
  optim::Optimizer optimizer(*network, ranks, {}, /*total_steps=*/100);
  SftTrainer trainer(*network, optimizer, {.micro_batch_tokens = 20});
  for (int64_t step = 0; step < 2; ++step) {
    trainer.step(examples_of_step(step), step);
    EXPECT_GT(ranks.take(), 2);
  }
  const auto scorer = model::with_scalar_head(*network, 3);
  optim::Optimizer of_scorer(*scorer, ranks, {}, /*total_steps=*/100);
  RewardTrainer rewards(*scorer, of_scorer, {.micro_batch_tokens = 30});
  rewards.step(make_pairs(5));
  EXPECT_GT(ranks.take(), 2);
}

TEST_P(SharedOut, LearnsFromATeacherWhatOneLearns) {
  const auto teacher = tiny_network_of(at::kFloat, 8);
  teacher->freeze();
  expect_as_on_one_rank([&](transport::Collective& ranks) {
    const auto network = tiny_network_of(at::kFloat, 7);
    optim::Optimizer optimizer(*network, ranks, {.lr = 1e-3, .shard = GetParam()}, /*total_steps=*/100);
    DistillTrainer trainer(*network, *teacher, optimizer, /*micro_batch_tokens=*/40, {});
    return train(
        *network, optimizer, [&](int64_t step) { return trainer.step(examples_of_step(step)); }, GetParam());
  });
}

TEST_P(SharedOut, LearnsARewardModelAsOne) {
  expect_as_on_one_rank([](transport::Collective& ranks) {
    const auto network = model::with_scalar_head(*tiny_network_of(at::kFloat, 7), 3);
    optim::Optimizer optimizer(*network, ranks, {.lr = 1e-3, .shard = GetParam()}, /*total_steps=*/100);
    RewardTrainer trainer(*network, optimizer, {.micro_batch_tokens = 60});
    return train(
        *network, optimizer,
        [&](int64_t step) { return trainer.step(make_pairs(static_cast<size_t>(3 + step % 3))); },
        GetParam());
  });
}

TEST(RewardSplit, HasTheGradientOfEachCompletionByItself) {
  auto pairs = make_pairs(6);
  for (size_t i = 0; i < pairs.size(); ++i) pairs[i].margin = 0.25 * static_cast<double>(i % 3);
  for (const auto type : {at::kDouble, at::kFloat}) {
    const auto plain = model::with_scalar_head(*tiny_network_of(type, 7), 3);
    const auto score = [&](const ComparedPair& pair, const std::vector<int32_t>& completion) {
      auto tokens = pair.prompt;
      tokens.insert(tokens.end(), completion.begin(), completion.end());
      model::PackedBatchBuilder rows;
      rows.add(tokens);
      return plain_scores(*plain, rows.build(at::kCPU), at::tensor({std::ssize(tokens) - 1}, at::kLong));
    };
    for (const auto& pair : pairs) {
      const auto chosen = score(pair, pair.chosen), rejected = score(pair, pair.rejected);
      const auto loss =
          -at::log_sigmoid(chosen - rejected - pair.margin) + 0.1 * (chosen + rejected).square();
      (loss.sum() / 6.0).backward();
    }
    for (const int64_t rows : kSplits) {
      const auto network = model::with_scalar_head(*tiny_network_of(type, 7), 3);
      OptimizerOfAnother other;
      RewardTrainer(*network, other.optimizer,
                    {.micro_batch_tokens = rows, .loss = {.center_coefficient = 0.1}})
          .step(pairs);
      expect_same_gradient(gradient_of(*network), gradient_of(*plain));
    }
  }
}

// Of rewards as leaves: six pairs, and prompts with three, two and four ranked completions.
TEST(RewardSplit, HasTheSameGradientHoweverPairsAndPromptsAreCut) {
  std::vector<double> values;
  for (uint64_t i = 0; i < 12; ++i) values.push_back(4.0 * uniform(i) - 2.0);
  for (const auto type : {at::kDouble, at::kFloat}) {
    const auto rewards = at::tensor(values, at::kDouble).to(type);
    const auto of_pairs = [&](std::vector<int64_t> cuts) {
      const auto leaf = rewards.clone().requires_grad_();
      int64_t first = 0;
      for (const int64_t count : cuts) {
        reward_loss({.chosen = leaf.narrow(0, first, count), .rejected = leaf.narrow(0, 6 + first, count)},
                    /*step_pairs=*/6, {.center_coefficient = 0.01})
            .loss.backward();
        first += count;
      }
      return leaf.grad();
    };
    expect_same_gradient(of_pairs({4, 2}), of_pairs({6}));
    expect_same_gradient(of_pairs({1, 1, 1, 1, 1, 1}), of_pairs({6}));

    const auto ranked = rewards.narrow(0, 0, 9);
    const auto together = ranked.clone().requires_grad_(), apart = ranked.clone().requires_grad_();
    ranking_loss(together, {3, 2, 4}, /*step_prompts=*/3).loss.backward();
    ranking_loss(apart.narrow(0, 0, 3), {3}, 3).loss.backward();
    ranking_loss(apart.narrow(0, 3, 6), {2, 4}, 3).loss.backward();
    expect_same_gradient(apart.grad(), together.grad());
  }
}

}  // namespace
}  // namespace sluice::sft
