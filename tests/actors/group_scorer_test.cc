#include "actors/group_scorer.h"

#include <gtest/gtest.h>

#include "tests/actors/actor_cases.h"

namespace sluice::actors {
namespace {

using buffers::Completion;
using buffers::FinishReason;

// Keeps what it was asked.
class Listener final : public rewards::RewardFunction {
 public:
  explicit Listener(std::vector<rewards::RewardRequest>& heard) : heard_(heard) {}
  const std::string& name() const override { return name_; }
  std::vector<rewards::RewardOutcome> score(std::span<const rewards::RewardRequest> group) override {
    heard_.assign(group.begin(), group.end());
    return std::vector<rewards::RewardOutcome>(group.size(), rewards::RewardOutcome::scored(1));
  }

 private:
  std::vector<rewards::RewardRequest>& heard_;
  const std::string name_ = "listener";
};

Completion completion_of(std::vector<int32_t> tokens, FinishReason finish) {
  Completion completion;
  completion.tokens = std::move(tokens);
  completion.finish = finish;
  return completion;
}

TEST(GroupScorer, GivesEachScorerTheTextOfEveryCompletion) {
  const auto tokenizer = letters();  // a is 5, b is 6, the line end 4
  std::vector<rewards::RewardRequest> heard;
  auto mix = character_count();
  mix.add(std::make_unique<Listener>(heard), 1.0);
  text::Row row;
  row.prompt = "abc";
  std::vector<Completion> completions = {completion_of({5, 6, 4, kEos}, FinishReason::Stop),
                                         completion_of({6, 6}, FinishReason::Length),
                                         completion_of({kEos}, FinishReason::Stop)};

  const auto seconds = score_completions(completions, row, /*group=*/9, *tokenizer, mix, /*stop_strings=*/{});

  EXPECT_EQ(seconds.size(), 2);  // one for each scorer
  EXPECT_EQ(completions[0].text, "ab\n");
  EXPECT_EQ(completions[1].text, "bb");
  EXPECT_EQ(completions[2].text, "");
  ASSERT_EQ(completions[0].outcomes.size(), 2);
  EXPECT_EQ(completions[0].outcomes[0].score, 3);
  EXPECT_EQ(completions[0].outcomes[1].score, 1);
  EXPECT_EQ(completions[1].outcomes[0].unscored_reason, "truncated");
  EXPECT_EQ(completions[2].outcomes[0].score, 0);
  ASSERT_EQ(heard.size(), 3);
  EXPECT_EQ(heard[1].group, 9);
  EXPECT_EQ(heard[1].sample, 1);
  EXPECT_EQ(heard[1].row, &row);
  EXPECT_TRUE(heard[1].truncated);
  EXPECT_EQ(heard[0].tokens.size(), 4);  // as sampled
}

TEST(GroupScorer, ATokenThatStoppedACompletionIsNotPartOfItsText) {
  std::vector<Completion> completions = {completion_of({5, 4}, FinishReason::Stop),
                                         completion_of({5, 4}, FinishReason::Length)};
  score_completions(completions, text::Row(), 0, *letters(), character_count(), /*stop_strings=*/{});
  EXPECT_EQ(completions[0].text, "a");  // the line end was a stop token here
  EXPECT_EQ(completions[1].text, "a\n");
}

TEST(GroupScorer, SpecialTokensAndIdsBeyondTheTokenizerHaveNoText) {
  std::vector<Completion> completions = {completion_of({1, 5, 3, 0, 23, 6, 1000}, FinishReason::Length)};
  score_completions(completions, text::Row(), 0, *letters(), character_count(), /*stop_strings=*/{});
  EXPECT_EQ(completions[0].text, "ab");
}

}  // namespace
}  // namespace sluice::actors
