#include "rewards/reward_mix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <stdexcept>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class Fake final : public RewardFunction {
 public:
  using Body = std::function<std::vector<RewardOutcome>(std::span<const RewardRequest>)>;
  Fake(std::string name, Body body) : name_(std::move(name)), body_(std::move(body)) {}

  const std::string& name() const override { return name_; }
  std::vector<RewardOutcome> score(std::span<const RewardRequest> group) override { return body_(group); }

 private:
  const std::string name_;
  const Body body_;
};

std::vector<std::vector<RewardOutcome>> score_two(Fake::Body body) {
  RewardMix mix;
  mix.add(std::make_unique<Fake>("fake", std::move(body)), 1.0);
  const Case from;
  const std::vector<RewardRequest> group = {from.request("a"), from.request("b")};
  return mix.score(group);
}

std::string reason_of(Fake::Body body) {
  const auto rows = score_two(std::move(body));
  EXPECT_EQ(rows.size(), 2u);
  EXPECT_FALSE(rows[0].at(0).score);
  return rows[0].at(0).unscored_reason;
}

TEST(RewardMix, GivesARowOfOutcomesForEachCompletion) {
  auto format = spec("format_tags", R"({"tags": ["a"]})");
  format.weight = 0.2;
  const RewardMix mix({spec("exact_answer"), format}, {});
  Case from;
  from.row.columns["answer"] = "<a></a>";
  const std::vector<RewardRequest> group = {from.request("<a></a>"), from.request("<a></a> "),
                                            from.request("x")};

  const auto rows = mix.score(group);

  EXPECT_THAT(mix.names(), testing::ElementsAre("exact_answer", "format_tags"));
  EXPECT_THAT(mix.weights(), testing::ElementsAre(1.0, 0.2));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_DOUBLE_EQ(*total_reward(rows[0], mix.weights()), 1.2);
  EXPECT_DOUBLE_EQ(*total_reward(rows[2], mix.weights()), 0.0);
}

TEST(RewardMix, TurnsWhatAScorerThrowsIntoUnscored) {
  EXPECT_THAT(reason_of([](auto) -> std::vector<RewardOutcome> { throw std::runtime_error("disk on fire"); }),
              HasSubstr("fake failed: disk on fire"));
  EXPECT_THAT(reason_of([](auto) -> std::vector<RewardOutcome> { throw 3; }), HasSubstr("fake failed"));
}

TEST(RewardMix, TurnsAWrongNumberOfOutcomesIntoUnscored) {
  EXPECT_EQ(reason_of([](auto) { return std::vector<RewardOutcome>(3, RewardOutcome::scored(1)); }),
            "fake gave 3 outcomes for a group of 2");
  EXPECT_EQ(reason_of([](auto) { return std::vector<RewardOutcome>(); }),
            "fake gave 0 outcomes for a group of 2");
}

TEST(RewardMix, TurnsNumbersThatAreNotFiniteIntoUnscoredAndKeepsTheOthers) {
  const auto rows = score_two([](auto) {
    return std::vector<RewardOutcome>{RewardOutcome::scored(kNaN), RewardOutcome::scored(0.5)};
  });
  EXPECT_FALSE(rows[0][0].score);
  EXPECT_THAT(rows[0][0].unscored_reason, HasSubstr("fake gave nan"));
  EXPECT_EQ(rows[1][0].score, 0.5);

  EXPECT_THAT(
      reason_of([](auto) { return std::vector<RewardOutcome>(2, RewardOutcome::scored(-kInfinity)); }),
      HasSubstr("-inf"));
  EXPECT_THAT(reason_of([](auto) {
                return std::vector<RewardOutcome>(2, RewardOutcome::scored(1, {{"style", kNaN}}));
              }),
              HasSubstr("nan as style"));
  EXPECT_THAT(reason_of([](auto) { return std::vector<RewardOutcome>(2); }),
              HasSubstr("neither a score nor a reason"));
}

TEST(RewardMix, LeavesTheOtherScorersAloneWhenOneFails) {
  RewardMix mix({spec("format_tags", R"({"tags": ["a"]})")}, {});
  mix.add(std::make_unique<Fake>("fake",
                                 [](auto) -> std::vector<RewardOutcome> { throw std::logic_error("no"); }),
          1.0);
  const Case from;
  const RewardRequest request = from.request("<a></a>");

  const auto rows = mix.score({&request, 1});

  EXPECT_EQ(rows[0][0].score, 1.0);
  EXPECT_FALSE(rows[0][1].score);
  EXPECT_EQ(total_reward(rows[0], mix.weights()), 1.0);
}

TEST(RewardMix, RefusesNoRewardTwoOfOneNameAndAWeightThatIsNoNumber) {
  EXPECT_THROW(RewardMix({}, {}), UsageError);
  EXPECT_THAT(message_of<UsageError>([] {
                RewardMix({spec("format_tags"), spec("format_tags")}, {});
              }),
              HasSubstr("two rewards are called \"format_tags\""));
  auto endless = spec("format_tags");
  endless.weight = kInfinity;
  EXPECT_THROW(RewardMix({endless}, {}), UsageError);
}

// Example `reward_assembly` of data/spec/examples.json.
TEST(TotalReward, SumsOverTheOutcomesThatHaveAScore) {
  const std::vector<double> weights = {1.0, 0.5};
  const auto none = RewardOutcome::unscored("timeout");
  const auto total = [&](RewardOutcome a, RewardOutcome b) {
    const std::vector<RewardOutcome> outcomes = {std::move(a), std::move(b)};
    return total_reward(outcomes, weights);
  };

  EXPECT_EQ(total(RewardOutcome::scored(1), RewardOutcome::scored(0.5)), 1.25);
  EXPECT_EQ(total(none, RewardOutcome::scored(1)), 0.5);
  EXPECT_EQ(total(RewardOutcome::scored(0), none), 0.0);
  EXPECT_EQ(total(none, none), std::nullopt);
}

TEST(TotalReward, RejectsASumThatIsNotFiniteAndWeightsThatDoNotFit) {
  const std::vector<RewardOutcome> huge = {RewardOutcome::scored(1e308)};

  EXPECT_THROW(total_reward(huge, std::vector<double>{10.0}), DataError);
  EXPECT_THROW(total_reward(huge, std::vector<double>{}), Error);
}

}  // namespace
}  // namespace sluice::rewards
