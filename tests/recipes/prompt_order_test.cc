#include "recipes/internal/prompt_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "buffers/group_id.h"

namespace sluice::recipes::internal {
namespace {

using buffers::group_id;
using testing::ElementsAre;
using testing::Pair;

constexpr int64_t kPrompts = 12, kPerStep = 4;
constexpr int64_t kSlots = 100;
constexpr uint64_t kSeed = 3;

// The groups of a step, with the rewards of two completions each.
learner::TrainingBatch batch_of(int64_t step, const std::vector<std::pair<double, double>>& rewards) {
  learner::TrainingBatch batch;
  for (size_t i = 0; i < rewards.size(); ++i) {
    batch.groups.push_back({.group = static_cast<uint64_t>(kPerStep * step) + i, .step = step});
    batch.rewards.push_back({rewards[i].first, rewards[i].second});
  }
  return batch;
}

std::vector<int64_t> rows_of(PromptOrder& order, int64_t step) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < kPerStep; ++i)
    rows.push_back(order.row(static_cast<uint64_t>(kPerStep * step + i), step));
  return rows;
}

const EpochOrder kOrder(kPrompts, kSeed);

TEST(PromptOrder, IsTheEndlessOneWhereNothingIsAskedAgain) {
  PromptOrder order(kOrder, kSlots, {.prompts_per_step = kPerStep, .staleness = 1});
  EpochOrder endless = kOrder;
  EXPECT_EQ(order.trained(batch_of(0, {{0, 1}, {0, 1}, {0, 1}, {0, 1}}), 0), 0);
  for (int64_t step = 0; step < 5; ++step) {
    for (int64_t i = 0; i < kPerStep; ++i) {
      EXPECT_EQ(rows_of(order, step)[static_cast<size_t>(i)], endless.at(kPerStep * step + i));
    }
  }
}

TEST(PromptOrder, AsksHardPromptsAgainTheHardestFirstAndNotTheHopeless) {
  PromptOrder order(kOrder, kSlots, {.prompts_per_step = kPerStep, .staleness = 1, .share = 0.5});
  const auto first = rows_of(order, 0), second = rows_of(order, 1), third = rows_of(order, 2);
  // Means 0.4, 0 (hopeless), 0.1 and 0.3: the two hardest of three.
  EXPECT_EQ(order.trained(batch_of(0, {{0, 0.8}, {0, 0}, {0.2, 0}, {0.6, 0}}), 0), 0);
  EXPECT_EQ(rows_of(order, 1), second);  // may have been given to actors before
  EXPECT_THAT(rows_of(order, 2), ElementsAre(first[2], first[3], third[2], third[3]));

  // What went badly again is asked again, and counted.
  EXPECT_EQ(order.trained(batch_of(1, {{1, 1}, {1, 1}, {1, 1}, {1, 1}}), 1), 0);
  EXPECT_EQ(order.trained(batch_of(2, {{1, 0}, {0.1, 0}, {1, 1}, {1, 0}}), 2), 2);
  EXPECT_EQ(rows_of(order, 4)[0], first[3]);  // 0.05; a mean of 0.5 is not below
  EXPECT_NE(rows_of(order, 4)[1], first[2]);
}

TEST(PromptOrder, GoesOnFromWhatACheckpointKeeps) {
  const ReplayOptions options{.prompts_per_step = kPerStep, .staleness = 1, .share = 1.0, .below = 0.9};
  PromptOrder whole(kOrder, kSlots, options);
  whole.trained(batch_of(0, {{0.1, 0}, {1, 1}, {1, 1}, {1, 1}}), 0);
  whole.trained(batch_of(1, {{1, 1}, {1, 1}, {0.2, 0}, {1, 1}}), 1);
  const Json state = whole.state(2);
  EXPECT_EQ(state, Json({{{"step", 2}, {"rows", {rows_of(whole, 0)[0]}}},
                         {{"step", 3}, {"rows", {rows_of(whole, 1)[2]}}}}));
  PromptOrder resumed(kOrder, kSlots, options);
  resumed.load(state, "learner.json");
  for (int64_t step = 2; step < 5; ++step) EXPECT_EQ(rows_of(resumed, step), rows_of(whole, step));
}

TEST(PromptOrder, IsThatOfTheEpochsForFirstGroups) {
  PromptOrder order({5, /*seed=*/3}, /*num_slots=*/20);
  EpochOrder epochs(5, 3);
  for (uint64_t slot = 0; slot < 20; ++slot) {
    EXPECT_EQ(order.row(slot, 0), epochs.at(static_cast<int64_t>(slot)));
  }
}

TEST(PromptOrder, RefillsStandBehindTheLastSlot) {
  PromptOrder order({100, /*seed=*/3}, /*num_slots=*/20);
  std::set<int64_t> prompts;
  for (int64_t refill = 0; refill < 5; ++refill) {
    for (uint64_t slot = 0; slot < 20; ++slot) prompts.insert(order.row(group_id(slot, refill), 0));
  }
  EXPECT_EQ(prompts.size(), 100u);  // 5 x 20 in one epoch: each prompt once
}

TEST(PromptOrder, HangsOnTheGroupAloneWhoeverAsksWhen) {
  PromptOrder forward({7, /*seed=*/3}, /*num_slots=*/40);
  PromptOrder backward({7, /*seed=*/3}, /*num_slots=*/40);
  std::map<uint64_t, int64_t> first, second;
  for (uint64_t i = 0; i < 120; ++i) first[group_id(i % 40, i % 3)] = forward.row(group_id(i % 40, i % 3), 0);
  for (uint64_t i = 120; i-- > 0;) second[group_id(i % 40, i % 3)] = backward.row(group_id(i % 40, i % 3), 0);
  EXPECT_EQ(first, second);
}

}  // namespace
}  // namespace sluice::recipes::internal
