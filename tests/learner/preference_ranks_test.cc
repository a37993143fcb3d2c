// A preference step on several ranks is that on one.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "learner/kto_learner.h"
#include "learner/preference_learner.h"
#include "learner/reference_logps.h"
#include "tests/early_sums.h"
#include "tests/learner/preference_examples.h"
#include "tests/rank_steps.h"
#include "tests/split_step.h"

namespace sluice::learner {
namespace {

constexpr int64_t kRows = 60;

RankOutcome learn(const std::function<StepMetrics(std::span<const PreferenceExample>)>& step,
                  const model::Network& network, const optim::Optimizer& optimizer, size_t completions,
                  const std::string& shard) {
  RankOutcome outcome;
  for (uint64_t i = 0; i < static_cast<uint64_t>(rank_steps(shard)); ++i) {
    outcome.last = step(random_examples(5 + i % 3, completions, /*seed=*/i));
    if (i == 0) outcome.first = outcome.last;
  }
  outcome.weights = shared_weights(network, optimizer);
  return outcome;
}

struct Policies {
  Policies(transport::Collective& ranks, const char* shard)
      : Policies(ranks, tiny_network_of(at::kFloat, 7), shard) {}
  explicit Policies(transport::Collective& ranks,
                    std::unique_ptr<model::Network> learns = tiny_network_of(at::kFloat, 7),
                    const char* shard = "none")
      : network(std::move(learns)),
        optimizer(*network, ranks, {.lr = 1e-3, .shard = shard}, /*total_steps=*/100) {}

  ReferenceLogps reference_logps() const {
    return [this](std::span<const PreferenceExample> examples) {
      return learner::reference_logps(reference, examples, at::kCPU, {.micro_batch_tokens = kRows});
    };
  }

  std::unique_ptr<model::Network> network;
  reference::ReferencePolicy reference{tiny_network_of(at::kFloat, 8)};
  optim::Optimizer optimizer;
};

// Whatever a rank has a part of alone.
class PreferenceRanks : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Every, PreferenceRanks, testing::Values("none", "weights"),
                         [](const auto& named) { return std::string(named.param); });

TEST_P(PreferenceRanks, LearnFromPairsWhatOneLearns) {
  const std::vector<std::vector<PreferenceTerm>> kinds = {
      {{.type = PreferenceType::Sigmoid}},
      {{.type = PreferenceType::Sigmoid}, {.type = PreferenceType::Sft, .weight = 0.5}},
      {{.type = PreferenceType::Aot}}};
  for (const auto& terms : kinds) {
    SCOPED_TRACE(static_cast<int>(terms.front().type));
    expect_as_on_one_rank([&](transport::Collective& ranks) {
      Policies policies(ranks, GetParam());
      PreferenceLearner learner(*policies.network, policies.optimizer, policies.reference_logps(),
                                {.terms = terms, .micro_batch_tokens = kRows});
      return learn([&](auto pairs) { return learner.step(pairs); }, *policies.network, policies.optimizer, 2,
                   GetParam());
    });
  }
}

TEST_P(PreferenceRanks, LearnFromJudgedCompletionsWhatOneLearns) {
  expect_as_on_one_rank([](transport::Collective& ranks) {
    Policies policies(ranks, GetParam());
    KtoLearner learner(*policies.network, policies.optimizer, policies.reference_logps(),
                       {.max_length = 64, .micro_batch_tokens = kRows});
    return learn([&](auto examples) { return learner.step(examples); }, *policies.network, policies.optimizer,
                 1, GetParam());
  });
}

TEST(PreferenceRanksAgain, BeginToSumInTheLastBackward) {
  EarlySums ranks;
  Policies policies(ranks, wide_network());
  PreferenceLearner pairs(*policies.network, policies.optimizer, policies.reference_logps(),
                          {.micro_batch_tokens = kRows});
  for (uint64_t step = 0; step < 2; ++step) {
    pairs.step(random_examples(7, 2, step));
    EXPECT_GT(ranks.take(), 2);
  }
  KtoLearner judged(*policies.network, policies.optimizer, policies.reference_logps(),
                    {.max_length = 64, .micro_batch_tokens = kRows});
  judged.step(random_examples(7, 1, /*seed=*/3));
  EXPECT_GT(ranks.take(), 2);
}

}  // namespace
}  // namespace sluice::learner
