#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "model/model_directory.h"
#include "model/scalar_head.h"
#include "tests/rewards/reward_cases.h"
#include "text/tokenizer.h"

namespace sluice::rewards {
namespace {

// A directory with a reward model of random weights over the letters of "abcdefgh=".
class Folder {
 public:
  Folder() {
    const auto tokenizer = text::train_character_tokenizer("abcdefgh=");
    const model::LlamaShape shape{.vocab_size = tokenizer->vocab_size(),
                                  .hidden_size = 32,
                                  .intermediate_size = 24,
                                  .num_layers = 2,
                                  .num_heads = 2,
                                  .num_kv_heads = 1,
                                  .head_dim = 16,
                                  .max_position = 12};
    model::Network policy(model::llama_config(shape), at::kCPU);
    policy.init(7);
    policy.flat().mul_(3);
    network_ = model::with_scalar_head(policy, 5);
    model::save_model(path(), *network_, {.dtype = at::kFloat});
    tokenizer->save(path());
    end_ = *tokenizer->eos_id();
    tokenizer_ = text::load_tokenizer(path());
  }

  std::filesystem::path path() const { return folder_ / "model"; }
  RewardSpec spec(Json options = Json::object()) const {
    RewardSpec out = rewards::spec("reward_model");
    out.options = std::move(options);
    out.options["path"] = path().string();
    return out;
  }
  // What the network itself says at the end of the whole sequence.
  double expected(const std::string& prompt, const std::string& completion) const {
    auto tokens = tokenizer_->encode(prompt);
    for (const auto token : tokenizer_->encode(completion)) tokens.push_back(token);
    tokens.push_back(end_);
    model::PackedBatchBuilder builder;
    builder.add(tokens);
    return network_->scores(builder.build(at::kCPU), at::tensor({std::ssize(tokens) - 1}, at::kLong))
        .item<double>();
  }

 private:
  TempFolder folder_;
  std::unique_ptr<model::Network> network_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  text::TokenId end_ = 0;
};

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
  const Folder folder;
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
  const Folder folder;
  const auto reward = make_reward(folder.spec(), {}), other = make_reward(folder.spec(), {});
  const auto first = score_all(*reward, asking("ab="), {"cd", "cdefg", "h"});
  EXPECT_EQ(score_all(*other, asking("ab="), {"cd", "cdefg", "h"})[1].score, first[1].score);
  EXPECT_EQ(score_all(*reward, asking("ab="), {"cdefg"})[0].score, first[1].score);
}

TEST(RewardModel, KeepsScoresWithinTheClipAndSaysWhatTheyWere) {
  const Folder folder;
  const double whole = *score(*make_reward(folder.spec(), {}), asking("ab="), "cd").score;
  ASSERT_GT(std::abs(whole), 0.0);
  const double bound = std::abs(whole) / 2;
  const auto outcome = score(*make_reward(folder.spec({{"clip", bound}}), {}), asking("ab="), "cd");
  EXPECT_DOUBLE_EQ(*outcome.score, whole > 0 ? bound : -bound);
  EXPECT_DOUBLE_EQ(outcome.parts.at("unclipped"), whole);
}

TEST(RewardModel, RefusesWhatIsOfAProcessWhereItHasNone) {
  const Folder folder;
  const auto message = message_of<UsageError>([&] { make_reward(folder.spec({{"timeout_ms", 1000}}), {}); });
  EXPECT_THAT(message,
              testing::HasSubstr("timeout_ms is of a model in a process of its own, process = true"));
}

TEST(RewardModel, LeavesWhatItHasNoRoomForUnscored) {
  const Folder folder;
  const auto reward = make_reward(folder.spec(), {});
  const auto outcomes =
      score_all(*reward, asking("ab="), {"cdefghab", "cdefghabc"});  // 3 + 8 + 1 and 13 tokens
  EXPECT_NEAR(*outcomes[0].score, folder.expected("ab=", "cdefghab"), 1e-5);
  EXPECT_FALSE(outcomes[1].score.has_value());
  EXPECT_EQ(outcomes[1].unscored_reason, "of its 13 tokens the reward model takes 12");
}

TEST(RewardModel, RefusesAPolicyAMissingPathAndAClipOfNothing) {
  const Folder folder;
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
