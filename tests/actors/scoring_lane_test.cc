#include "actors/internal/scoring_lane.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <map>

#include "tests/actors/scorer_cases.h"

namespace sluice::actors {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Millis kSoon = 20'000;  // a deadline no passing test reaches

text::Row row() {
  text::Row row;
  row.prompt = "abc";
  return row;
}

EndedCompletion said(std::string text) { return {.tokens = {5, 6}, .text = std::move(text)}; }

GroupScores take_one(ScoringLane& lane) {
  auto scored = lane.take(kSoon);
  require(scored.size() == 1, "scored are ", scored.size(), " groups");
  return std::move(scored.front());
}

std::vector<double> scores_of(const GroupScores& scores, size_t scorer = 0) {
  std::vector<double> numbers;
  for (const auto& outcomes : scores.outcomes) numbers.push_back(outcomes.at(scorer).score.value_or(-1));
  return numbers;
}

TEST(ScoringLane, AsksForACompletionAsSoonAsItHasEnded) {
  Scribe scribe;
  rewards::RewardMix mix;
  mix.add(std::make_unique<ScribeOf>(scribe, "each", /*whole=*/false), 1.0);
  ScoringLane lane(mix, {});
  lane.begin(7, row(), /*num_samples=*/2, /*greedy_too=*/false);

  lane.add(7, 1, said("four"));
  scribe.await(1);
  EXPECT_THAT(scribe.asked(), ElementsAre("7: 1 four"));
  EXPECT_THAT(lane.take(0), IsEmpty());
  lane.add(7, 0, said("a"));

  const auto scores = take_one(lane);
  EXPECT_EQ(scores.group, 7u);
  EXPECT_THAT(scores_of(scores), ElementsAre(1, 4));
  EXPECT_GE(scores.scorers.at(0).seconds, 0.0);
}

TEST(ScoringLane, AsksForAWholeGroupOnceAllOfItIsThereAndForAGreedyOneAlone) {
  Scribe scribe;
  rewards::RewardMix mix;
  mix.add(std::make_unique<ScribeOf>(scribe, "whole", /*whole=*/true), 1.0);
  ScoringLane lane(mix, {});
  lane.begin(7, row(), /*num_samples=*/2, /*greedy_too=*/true);

  lane.add(7, 2, said("greedy"));
  lane.add(7, 1, said("bb"));
  EXPECT_THAT(lane.take(20), IsEmpty());
  EXPECT_THAT(scribe.asked(), IsEmpty());
  lane.add(7, 0, said("a"));

  EXPECT_THAT(scores_of(take_one(lane)), ElementsAre(1, 2, 6));
  EXPECT_THAT(scribe.asked(), ElementsAre("7: 0 greedy", "7: 0 a 1 bb"));
}

TEST(ScoringLane, AGroupGoesOnWhileAnotherIsDecoded) {
  Scribe scribe;
  rewards::RewardMix mix;
  mix.add(std::make_unique<ScribeOf>(scribe, "each", /*whole=*/false), 1.0);
  mix.add(std::make_unique<ScribeOf>(scribe, "whole", /*whole=*/true), 1.0);
  ScoringLane lane(mix, {});
  lane.begin(1, row(), 2, false);
  lane.begin(2, row(), 1, false);
  lane.add(1, 0, said("one"));
  lane.add(2, 0, said("second"));

  const auto second = take_one(lane);
  EXPECT_EQ(second.group, 2u);
  EXPECT_THAT(scores_of(second, 1), ElementsAre(6));
  lane.add(1, 1, said("three"));
  const auto first = take_one(lane);
  EXPECT_THAT(scores_of(first, 0), ElementsAre(3, 5));
  EXPECT_THAT(scores_of(first, 1), ElementsAre(3, 5));
}

// Fails at first, as a server that restarts.
class Flaky final : public rewards::RewardFunction {
 public:
  Flaky(int failures, std::string reason) : failures_(failures), reason_(std::move(reason)) {}
  const std::string& name() const override { return name_; }
  std::vector<rewards::RewardOutcome> score(std::span<const rewards::RewardRequest> group) override {
    std::vector<rewards::RewardOutcome> outcomes;
    for (size_t i = 0; i < group.size(); ++i) {
      outcomes.push_back(failures_-- > 0 ? rewards::RewardOutcome::unscored(reason_)
                                         : rewards::RewardOutcome::scored(1));
    }
    return outcomes;
  }

 private:
  int failures_;
  const std::string reason_, name_ = "flaky";
};

TEST(ScoringLane, TriesAGroupWithTooFewScoresOnceMore) {
  const auto scores = [](int failures, const std::string& reason) {
    rewards::RewardMix mix;
    mix.add(std::make_unique<Flaky>(failures, reason), 1.0);
    ScoringLane lane(mix, {}, /*min_scored=*/2);
    lane.begin(7, row(), /*num_samples=*/3, /*greedy_too=*/false);
    for (int64_t i = 0; i < 3; ++i) lane.add(7, i, said("a"));
    return scores_of(take_one(lane));
  };
  EXPECT_THAT(scores(1, "error: no"), ElementsAre(-1, 1, 1));  // enough without it
  EXPECT_THAT(scores(2, "error: no"), ElementsAre(1, 1, 1));
  EXPECT_THAT(scores(100, "error: no"), ElementsAre(-1, -1, -1));
  EXPECT_THAT(scores(3, "timeout: no reply within 300 ms"), ElementsAre(-1, -1, -1));
}

TEST(ScoringLane, SaysWhatItDoesAndEndsWhileAScorerHangs) {
  Gate gate;
  rewards::RewardMix mix;
  mix.add(std::make_unique<Gated>(gate), 1.0);
  auto lane = std::make_unique<ScoringLane>(mix, rewards::Canaries());
  lane->begin(7, row(), 1, false);
  lane->add(7, 0, said("a"));
  gate.await_somebody();
  EXPECT_EQ(lane->pulse().doing, "scores group 7 with gated");

  lane.reset();  // which would wait for ever

  EXPECT_TRUE(gate.interrupted());
}

}  // namespace
}  // namespace sluice::actors
