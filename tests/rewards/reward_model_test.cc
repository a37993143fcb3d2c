#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_model_folder.h"

namespace sluice::rewards {
namespace {

std::vector<RewardOutcome> score_all(RewardFunction& reward, const Case& from,
                                     const std::vector<std::string>& completions) {
  std::vector<RewardRequest> group;
  for (const auto& completion : completions) group.push_back(from.request(completion));
  return reward.score(group);
}

Case asking(const std::string& prompt) {
  Case from;
  from.row.prompt = prompt;
  return from;
}

TEST(RewardModel, ScoresEachCompletionOfAGroupAsItStandsAlone) {
  const RewardModelFolder folder;
  const auto reward = make_reward(folder.spec(), {});
  const std::vector<std::string> completions{"cd", "cdefg", "", "h"};
  const auto outcomes = score_all(*reward, asking("ab="), completions);
  ASSERT_EQ(outcomes.size(), 4u);
  for (size_t i = 0; i < completions.size(); ++i) {
    EXPECT_NEAR(*outcomes[i].score, folder.expected("ab=", completions[i]), 1e-5) << completions[i];
    EXPECT_TRUE(outcomes[i].parts.empty());
  }
  EXPECT_NE(*outcomes[0].score, *outcomes[1].score);
}

// The bits do not depend on the group that a completion is in.
TEST(RewardModel, GivesTheSameBitsAgainAndInAnotherGroup) {
  const RewardModelFolder folder;
  const auto reward = make_reward(folder.spec(), {}), other = make_reward(folder.spec(), {});
  const auto first = score_all(*reward, asking("ab="), {"cd", "cdefg", "h"});
  EXPECT_EQ(score_all(*other, asking("ab="), {"cd", "cdefg", "h"})[1].score, first[1].score);
  EXPECT_EQ(score_all(*reward, asking("ab="), {"cdefg"})[0].score, first[1].score);
}

TEST(RewardModel, KeepsScoresWithinTheClipAndSaysWhatTheyWere) {
  const RewardModelFolder folder;
  const double whole = *score(*make_reward(folder.spec(), {}), asking("ab="), "cd").score;
  ASSERT_GT(std::abs(whole), 0.0);
  const double bound = std::abs(whole) / 2;
  const auto outcome = score(*make_reward(folder.spec({{"clip", bound}}), {}), asking("ab="), "cd");
  EXPECT_DOUBLE_EQ(*outcome.score, whole > 0 ? bound : -bound);
  EXPECT_DOUBLE_EQ(outcome.parts.at("unclipped"), whole);
}

TEST(RewardModel, RefusesWhatIsOfAProcessWhereItHasNone) {
  const RewardModelFolder folder;
  const auto message = message_of<UsageError>([&] { make_reward(folder.spec({{"timeout_ms", 1000}}), {}); });
  EXPECT_THAT(message,
              testing::HasSubstr("timeout_ms is of a model in a process of its own, process = true"));
}

TEST(RewardModel, LeavesWhatItHasNoRoomForUnscored) {
  const RewardModelFolder folder;
  const auto reward = make_reward(folder.spec(), {});
  const auto outcomes =
      score_all(*reward, asking("ab="), {"cdefghab", "cdefghabc"});  // 3 + 8 + 1 and 13 tokens
  EXPECT_NEAR(*outcomes[0].score, folder.expected("ab=", "cdefghab"), 1e-5);
  EXPECT_FALSE(outcomes[1].score.has_value());
  EXPECT_EQ(outcomes[1].unscored_reason, "of its 13 tokens the reward model takes 12");
}

TEST(RewardModel, RefusesAPolicyAMissingPathAndAClipOfNothing) {
  const RewardModelFolder folder;
  const auto refusal = [](const RewardSpec& spec) {
    return message_of<Error>([&] { make_reward(spec, {}); });
  };
  EXPECT_THAT(refusal(spec("reward_model")), testing::HasSubstr("give `path`"));
  EXPECT_THAT(refusal(spec("reward_model", R"({"stage": "rm"})")),
              testing::HasSubstr("give its directory as `path`"));
  EXPECT_THAT(refusal(folder.spec({{"clip", 0}})), testing::HasSubstr("clip is 0"));
  EXPECT_THAT(refusal(folder.spec({{"clip", "three"}})), testing::HasSubstr("clip"));
  RewardSpec policy = spec("reward_model");
  policy.options["path"] = SLUICE_SOURCE_DIR "/data/goldens/llama";
  EXPECT_THAT(refusal(policy),
              testing::HasSubstr("a reward model is a directory of LlamaForSequenceClassification"));
}

}  // namespace
}  // namespace sluice::rewards
