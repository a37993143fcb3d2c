#include "learner/training_batch.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "tests/learner/rollouts.h"
#include "tests/spec_example.h"

namespace sluice::learner {
namespace {

using Ints = std::vector<int64_t>;

Ints ints(const at::Tensor& tensor) {
  const auto* begin = tensor.const_data_ptr<int64_t>();
  return {begin, begin + tensor.numel()};
}

TrainingBatch batch_of(std::vector<buffers::RolloutGroup> groups) {
  return make_training_batch(/*step=*/3, std::move(groups), {1.0}, {.scale = AdvantageScale::None},
                             /*max_new_tokens=*/16);
}

TEST(TrainingBatch, CountsChosenTokensAndAllSequences) {
  auto tool = completion_of({5, 6, 7}, 1.0);
  tool.mask = {1, 0, 1};
  auto masked = completion_of({5, 6}, std::nullopt);
  masked.mask = {0, 0};
  const auto batch = batch_of({group_of({1, 2}, {tool, masked, completion_of({8}, 0.0)})});

  EXPECT_EQ(batch.denominators.tokens, 3);
  EXPECT_EQ(batch.denominators.sequences, 3);
  EXPECT_EQ(batch.denominators.nonempty, 2);
  EXPECT_EQ(batch.denominators.max_length, 16);
  EXPECT_EQ(batch.advantages[0], (std::vector<double>{0.5, 0.0, -0.5}));
  EXPECT_FALSE(batch.rewards[0][1].has_value());
}

TEST(TrainingBatch, MeasuresAGroupAgainstItsGreedyCompletion) {
  const AdvantageOptions options{.baseline = Baseline::Greedy};
  auto alone = group_of({1, 2}, {completion_of({5, 6}, 1.0)});
  alone.greedy = {rewards::RewardOutcome::scored(0.25)};
  auto equal = group_of({3}, {completion_of({5}, 0.0), completion_of({6}, 0.0)});
  equal.greedy = {rewards::RewardOutcome::scored(1.0)};
  const auto batch = make_training_batch(0, {alone, equal}, {2.0}, options, 16);

  EXPECT_EQ(batch.baselines, (std::vector<double>{0.5, 2.0}));
  EXPECT_EQ(batch.advantages[0], (std::vector<double>{1.5}));
  EXPECT_EQ(batch.advantages[1], (std::vector<double>{-2.0, -2.0}));
  equal.greedy.clear();
  EXPECT_EQ(message_of<DataError>([&] { make_training_batch(0, {equal}, {2.0}, options, 16); }),
            "make_training_batch: group 0 has no score of a greedy completion to be measured against");
}

// Prompt 1 2 stands once in rows 0 and 1. The completion 5 6 7 keeps 5 6 (rows 2, 3) and 8 keeps nothing:
// what a token needs is what stands before it.
TEST(TrainingBatch, PacksAPromptOnceAndPredictsTheFirstTokenFromItsLastRow) {
  const auto micro = cut_into_micro_batches(
      batch_of({group_of({1, 2}, {completion_of({5, 6, 7}, 1.0), completion_of({8}, 0.0)})}), 100, at::kCPU);

  ASSERT_EQ(micro.size(), 1u);
  EXPECT_EQ(ints(micro[0].batch.tokens), (Ints{1, 2, 5, 6}));
  EXPECT_EQ(ints(micro[0].batch.positions), (Ints{0, 1, 2, 3}));
  EXPECT_EQ(micro[0].batch.starts, (Ints{0, 2, 4}));
  EXPECT_EQ(micro[0].batch.prefix, (Ints{model::kNoPrefix, 0}));
  EXPECT_EQ(ints(micro[0].targets.rows), (Ints{1, 2, 3, 1}));
  EXPECT_EQ(ints(micro[0].targets.tokens), (Ints{5, 6, 7, 8}));
  EXPECT_EQ(micro[0].lengths, (Ints{3, 1}));
  EXPECT_TRUE(at::equal(micro[0].advantages, at::tensor({0.5f, 0.5f, 0.5f, -0.5f})));
}

TEST(TrainingBatch, KeepsInsertedTokensAsInputAndDropsWhatFollowsTheLastChosenOne) {
  auto tool = completion_of({5, 6, 7, 9, 9}, 1.0);
  tool.mask = {1, 0, 1, 0, 0};
  tool.versions = {4, 0, 5, 0, 0};
  tool.logprobs = {-0.5f, NAN, -0.25f, NAN, NAN};
  tool.kept_mass = {0.75f, NAN, 0.5f, 0.0f, NAN};
  const auto micro =
      cut_into_micro_batches(batch_of({group_of({1}, {tool, completion_of({8}, 0.0)})}), 100, at::kCPU);

  EXPECT_EQ(ints(micro[0].batch.tokens), (Ints{1, 5, 6}));
  EXPECT_EQ(ints(micro[0].targets.rows), (Ints{0, 2, 0}));
  EXPECT_EQ(ints(micro[0].targets.tokens), (Ints{5, 7, 8}));
  EXPECT_EQ(ints(micro[0].versions), (Ints{4, 5, 0}));
  EXPECT_TRUE(at::equal(micro[0].behaviour_logprobs, at::tensor({-0.5f, -0.25f, -1.0f})));
  EXPECT_TRUE(at::equal(micro[0].kept_mass, at::tensor({0.75f, 0.5f, 1.0f})));
}

// A critic is asked what comes behind 5 6 7 and behind 9, which the limit cut, and of nothing behind 8.
TEST(TrainingBatch, KeepsTheLastTokenOfWhatIsBootstrapped) {
  auto tool = completion_of({5, 6, 7}, 1.0), shortest = completion_of({9}, 1.0);
  tool.mask = {1, 0, 0};
  tool.finish = shortest.finish = buffers::FinishReason::Length;
  const auto groups = std::vector{group_of({1}, {tool, completion_of({8}, 0.0), shortest})};
  const auto rows_of = [&](const AdvantageOptions& options, int64_t max_rows) {
    return cut_into_micro_batches(make_training_batch(0, groups, {1.0}, options, 16), max_rows, at::kCPU);
  };
  const auto whole = rows_of({.baseline = Baseline::Critic, .bootstrap_truncated = true}, 5);
  ASSERT_EQ(whole.size(), 1u);  // all five rows are counted
  EXPECT_EQ(ints(whole[0].batch.tokens), (Ints{1, 5, 6, 7, 9}));
  EXPECT_EQ(ints(whole[0].targets.rows), (Ints{0, 0, 0}));
  EXPECT_EQ(ints(whole[0].end_rows), (Ints{3, 4}));
  EXPECT_EQ(rows_of({.baseline = Baseline::Critic, .bootstrap_truncated = true}, 4).size(), 2u);

  const auto plain = rows_of({.baseline = Baseline::Critic}, 5);
  EXPECT_EQ(ints(plain[0].batch.tokens), (Ints{1}));
  EXPECT_EQ(plain[0].end_rows.numel(), 0);
}

// Rotary frequencies that depend on the length are then the actor's, which did not know when it would stop.
TEST(TrainingBatch, SaysOfEachSequenceWhatItsActorSaid) {
  const auto batch = batch_of({group_of({1, 4, 3}, {completion_of({5, 6, 7}, 1.0), completion_of({8}, 0.0)}),
                               group_of({9}, {completion_of({5, 6}, 1.0)}, 1)});
  const auto micro = cut_into_micro_batches(batch, 100, at::kCPU);
  ASSERT_EQ(micro.size(), 1u);
  EXPECT_EQ(micro[0].batch.final_lengths, (Ints{19, 19, 17, 17}));  // 16 new tokens after 3 and after 1
}

TEST(TrainingBatch, RefusesACompletionLongerThanItWasAskedFor) {
  const std::vector<buffers::Completion> completions{completion_of({5, 6, 7}, 1.0)};
  EXPECT_THAT(
      message_of<DataError>([&] { make_training_batch(0, {group_of({1}, completions)}, {1.0}, {}, 2); }),
      testing::HasSubstr("completion 0 of group 0 has 3 tokens, at most 2 were asked for"));
}

TEST(TrainingBatch, LearnsNothingFromTruncatedCompletionsWhenAskedAsTheSpecificationSays) {
  const Json& example = spec_example("truncated_completion_masking");
  const auto& expected = example["expected"];
  std::vector<buffers::Completion> completions;
  for (size_t i = 0; i < 3; ++i) {
    auto completion = completion_of(example["inputs"]["completions"][i].get<std::vector<int32_t>>(),
                                    example["inputs"]["rewards"][i].get<double>());
    if (expected["is_truncated"][i].get<bool>()) completion.finish = buffers::FinishReason::Length;
    completions.push_back(completion);
  }
  for (const bool mask_truncated : {false, true}) {
    const auto batch = make_training_batch(0, {group_of({1}, completions)}, {1.0},
                                           {.scale = AdvantageScale::None, .mask_truncated = mask_truncated},
                                           /*max_new_tokens=*/3);
    Ints lengths;
    for (const Json& mask : expected[mask_truncated ? "loss_mask_when_masking" : "loss_mask_default"]) {
      const auto row = mask.get<Ints>();
      if (const auto chosen = std::ranges::count(row, 1); chosen > 0) lengths.push_back(chosen);
    }
    EXPECT_EQ(batch.advantages[0], expected["advantages"].get<std::vector<double>>());
    EXPECT_EQ(batch.denominators.sequences, 3);
    EXPECT_EQ(batch.denominators.nonempty, std::ssize(lengths));
    EXPECT_EQ(batch.denominators.tokens, std::accumulate(lengths.begin(), lengths.end(), int64_t{0}));
    EXPECT_EQ(cut_into_micro_batches(batch, 100, at::kCPU)[0].lengths, lengths);
    EXPECT_EQ(batch.groups[0].completions[1].mask, (std::vector<uint8_t>{1, 1, 1}));  // as it came
  }
}

TEST(TrainingBatch, LetsNoMaskedGarbageThroughAsTheSpecificationAsks) {
  const Json& example = spec_example("empty_mask");
  std::vector<buffers::Completion> completions;
  for (const Json& mask : example["inputs"]["mask"]) {
    auto completion = completion_of({5, 6}, static_cast<double>(completions.size()));
    completion.mask = mask.get<std::vector<uint8_t>>();
    completion.logprobs = {NAN, -std::numeric_limits<float>::infinity()};
    completions.push_back(completion);
  }
  const auto batch = batch_of({group_of({1}, completions)});
  EXPECT_EQ(batch.denominators.tokens, 0);
  EXPECT_EQ(batch.denominators.sequences, 2);
  EXPECT_TRUE(cut_into_micro_batches(batch, 100, at::kCPU).empty());
}

TEST(TrainingBatch, CutsEveryCompletionOnceWhateverTheSizeOfThePacks) {
  const auto batch = batch_of(random_groups(6, /*seed=*/11));
  const auto sum_of = [](const std::vector<MicroBatch>& micro_batches) {
    double sum = 0.0;
    for (const auto& micro : micro_batches) sum += micro.behaviour_logprobs.sum(at::kDouble).item<double>();
    return sum;
  };
  const double whole = sum_of(cut_into_micro_batches(batch, 1 << 20, at::kCPU));

  for (const int64_t max_tokens : {1, 8, 20, 33, 64, 4096}) {
    const auto micro_batches = cut_into_micro_batches(batch, max_tokens, at::kCPU);
    int64_t tokens = 0;
    for (const auto& micro : micro_batches) {
      tokens += std::accumulate(micro.lengths.begin(), micro.lengths.end(), int64_t{0});
      // 8 + 12: the longest prompt with its longest completion, which no cut divides.
      EXPECT_LE(micro.batch.num_rows(), std::max<int64_t>(max_tokens, 20));
      EXPECT_EQ(micro.targets.rows.numel(), micro.advantages.numel());
    }
    EXPECT_EQ(tokens, batch.denominators.tokens);
    EXPECT_NEAR(sum_of(micro_batches), whole, 1e-9);
  }
  EXPECT_EQ(cut_into_micro_batches(batch, 1 << 20, at::kCPU).size(), 1u);
}

TEST(TrainingBatch, RepeatsThePromptOfAGroupThatIsLargerThanAPack) {
  const auto completion = completion_of({5, 6, 7}, 1.0);
  const auto micro = cut_into_micro_batches(
      batch_of({group_of({1, 2}, {completion, completion, completion_of({5, 6, 7}, 0.0)})}), 6, at::kCPU);
  ASSERT_EQ(micro.size(), 2u);
  EXPECT_EQ(ints(micro[0].batch.tokens), (Ints{1, 2, 5, 6, 5, 6}));
  EXPECT_EQ(ints(micro[1].batch.tokens), (Ints{1, 2, 5, 6}));
}

TEST(TrainingBatch, LeavesOutGroupsWithoutAdvantageWhenAsked) {
  const auto batch = batch_of({group_of({1}, {completion_of({5}, 1.0), completion_of({6, 7}, 1.0)}),
                               group_of({2}, {completion_of({8}, 1.0), completion_of({9}, 0.0)})});
  EXPECT_EQ(batch.denominators.tokens, 5);
  const auto kept = cut_into_micro_batches(batch, 100, at::kCPU, IdleGroups::LeaveOut);
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(ints(kept[0].targets.tokens), (Ints{8, 9}));
  EXPECT_EQ(cut_into_micro_batches(batch, 100, at::kCPU)[0].targets.tokens.numel(), 5);
}

TEST(TrainingBatch, RefusesGroupsThatDoNotHoldTogether) {
  auto short_mask = completion_of({5, 6}, 1.0), unscored = completion_of({5}, 1.0);
  short_mask.mask = {1};
  unscored.outcomes.clear();
  EXPECT_THROW(batch_of({group_of({}, {completion_of({5}, 1.0)})}), DataError);
  EXPECT_THROW(batch_of({group_of({1}, {short_mask})}), DataError);
  EXPECT_THROW(batch_of({group_of({1}, {unscored})}), DataError);
  for (const std::vector<float>& kept_mass : {std::vector<float>{}, {0.0f}, {1.5f}, {NAN}}) {
    auto completion = completion_of({5}, 1.0);
    completion.kept_mass = kept_mass;
    EXPECT_THROW(batch_of({group_of({1}, {completion})}), DataError);
  }
}

TEST(MicroBatch, PredictsEachTokenFromTheRowBeforeItAsInTheSpecification) {
  const Json& example = spec_example("logprob_alignment");
  auto group = group_of({5, 6, 7}, {completion_of({8, 2}, 1.0), completion_of({8, 2}, 0.0)});
  group.completions.resize(1);
  const auto micro = cut_into_micro_batches(batch_of({group}), 100, at::kCPU).front();
  EXPECT_TRUE(
      at::equal(micro.targets.rows,
                at::tensor(example["expected"]["logit_rows_used"].get<std::vector<int64_t>>(), at::kLong)));
  EXPECT_TRUE(at::equal(micro.targets.tokens,
                        at::tensor(example["expected"]["targets"].get<std::vector<int64_t>>(), at::kLong)));
  // The last token is only predicted; the others stand where the specification has them.
  const auto ids = example["expected"]["input_ids"].get<std::vector<int64_t>>(),
             positions = example["expected"]["position_ids"].get<std::vector<int64_t>>();
  EXPECT_TRUE(at::equal(micro.batch.tokens, at::tensor(ids, at::kLong).narrow(0, 0, 4)));
  EXPECT_TRUE(at::equal(micro.batch.positions, at::tensor(positions, at::kLong).narrow(0, 0, 4)));
}

}  // namespace
}  // namespace sluice::learner
