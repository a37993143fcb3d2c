#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

// Vocabulary with min_count 2: the king and queen saw don't i o'er go
const char* const kText =
    "The king and the queen saw the king. And the queen saw. I go, I go: don't! don't; o'er o'er t t x x "
    "once";

std::unique_ptr<RewardFunction> real_words(const std::string& options = R"({"min_words": 1})") {
  return make_reward(spec("real_words", options), {.training_text = kText});
}

Case after(const std::string& prompt, bool truncated = false) {
  Case out;
  out.row.prompt = prompt;
  out.truncated = truncated;
  return out;
}

TEST(RealWords, IsTheShareOfLettersInRealWords) {
  const auto reward = real_words();

  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "The KING saw").score, 1.0);
  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "the kinq").score, 3.0 / 7.0);
  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "once").score, 0.0);  // seen once only
  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "I don't go o'er").score, 1.0);
}

TEST(RealWords, ScalesDownWhenWordsRepeat) {
  const auto reward = real_words();

  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "king king King king").score, 0.25);
  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "the king the queen").score, 0.75);
  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "the xx the xx").score, 6.0 / 10.0 * 2.0 / 4.0);
}

TEST(RealWords, TakesNoSingleLetterForAWordButAIAndO) {
  const auto reward = real_words();

  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "t").score, 0.0);
  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "x t I").score, 1.0 / 3.0);  // 3 letters of 5 characters
}

TEST(RealWords, GivesNothingForNoLettersAndLittleForFewAmongMuchElse) {
  const auto reward = real_words();

  EXPECT_EQ(score(*reward, after(""), "").score, 0.0);
  EXPECT_EQ(score(*reward, after(""), " \n\n ,.;!? 123").score, 0.0);
  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "king" + std::string(36, '\n')).score, 4.0 / (0.5 * 40.0));
}

TEST(RealWords, WantsAFewWordsForTheFullScore) {
  const auto reward = real_words("{}");  // min_words 4

  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "the").score, 0.25);
  EXPECT_DOUBLE_EQ(*score(*reward, after(""), "the king saw go").score, 1.0);
}

TEST(RealWords, JoinsTheFirstLettersToThePromptsLastAndCountsOnlyItsOwn) {
  const auto reward = real_words();

  // "qu" + "een": 3 letters of a real word, then 4 of an unreal one.
  EXPECT_DOUBLE_EQ(*score(*reward, after("the qu"), "een blah").score, 3.0 / 7.0);
  EXPECT_DOUBLE_EQ(*score(*reward, after("I do"), "n't go").score, 1.0);
  EXPECT_DOUBLE_EQ(*score(*reward, after("the king"), "x saw").score, 3.0 / 4.0);
  EXPECT_DOUBLE_EQ(*score(*reward, after("the king"), " saw").score, 1.0);  // "king" is the prompt's alone
  EXPECT_DOUBLE_EQ(*score(*reward, after("blah "), "saw").score, 1.0);
}

TEST(RealWords, StartsAfreshInAConversation) {
  auto chat = after("the qu");
  chat.row.messages = Json::array();

  EXPECT_DOUBLE_EQ(*score(*real_words(), chat, "een").score, 0.0);
}

TEST(RealWords, LeavesOutALastWordThatTheLengthLimitCut) {
  const auto reward = real_words();

  EXPECT_DOUBLE_EQ(*score(*reward, after("", true), "the kin").score, 1.0);
  EXPECT_DOUBLE_EQ(*score(*reward, after("", true), "the king don'").score, 1.0);
  EXPECT_DOUBLE_EQ(*score(*reward, after("", true), "the king zz.").score, 7.0 / 9.0);  // not at the end
  EXPECT_DOUBLE_EQ(*score(*reward, after("", false), "the kin").score, 0.5);            // ended by choice
  EXPECT_DOUBLE_EQ(*score(*reward, after("", true), "kin").score, 0.0);                 // nothing is left
}

TEST(RealWords, CountsAnEndlessRunOfLettersAlthoughItWasCut) {
  const double endless = *score(*real_words(), after("", true), "the " + std::string(27, 'a')).score;

  EXPECT_DOUBLE_EQ(endless, 3.0 / 30.0);
}

TEST(RealWords, ScoresHeldOutShakespeareHighAndNoiseLow) {
  const std::string text = read_file(SLUICE_SOURCE_DIR "/data/text/tinyshakespeare.txt");
  const size_t split = text.size() * 9 / 10;
  const auto reward = make_reward(spec("real_words"), {.training_text = text.substr(0, split)});

  double written = 0;
  double shuffled = 0;
  constexpr int kWindows = 200;
  for (int i = 0; i < kWindows; ++i) {
    const size_t at = split + static_cast<size_t>(i) * 500;
    const auto row = after(text.substr(at, 24), true);
    std::string window = text.substr(at + 24, 64);
    written += *score(*reward, row, window).score;
    std::sort(window.begin(), window.end());
    std::rotate(window.begin(), window.begin() + 21, window.end());
    shuffled += *score(*reward, row, window).score;
  }

  EXPECT_GT(written / kWindows, 0.8);  // 0.84: names and rare words are unknown, some words repeat
  EXPECT_LT(shuffled / kWindows, 0.05);
}

TEST(RealWords, RefusesToBeMadeWithoutATrainingText) {
  const auto without = message_of<UsageError>([] { make_reward(spec("real_words"), {}); });
  EXPECT_THAT(without, testing::HasSubstr("recipe.toml:7:3: reward \"real_words\""));
  EXPECT_THAT(without, testing::HasSubstr("training text"));

  EXPECT_THAT(message_of<UsageError>([] { real_words(R"({"min_count": 99})"); }),
              testing::HasSubstr("holds no word often enough"));
  EXPECT_THROW(real_words(R"({"min_words": 0})"), UsageError);
  EXPECT_THROW(real_words(R"({"min_count": 0})"), UsageError);
}

}  // namespace
}  // namespace sluice::rewards
