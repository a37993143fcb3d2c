#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

double score_of(const std::string& completion, const Json& reference) {
  Case from;
  from.row.columns = {{"reference", reference}};
  return *score(*make_reward(spec("bleu"), {}), from, completion).score;
}

// Numbers of sacreBLEU 2.6.0, sentence_bleu.
TEST(Bleu, IsWhatSacrebleuComputes) {
  EXPECT_NEAR(score_of("the cat sat on the mat", "the cat sat on the mat"), 1.0, 1e-12);
  EXPECT_NEAR(score_of("the cat sat on the mat", "the cat was on the mat"), 0.3799178428, 1e-9);
  EXPECT_NEAR(score_of("mat the on sat cat the", "the cat sat on the mat"), 0.1270331870, 1e-9);
  EXPECT_NEAR(score_of("the cat", "the cat sat on the mat"), 0.1353352832, 1e-9);
  EXPECT_NEAR(score_of("the the the the", "the cat sat on the mat"), 0.1152159099, 1e-9);
  EXPECT_NEAR(score_of("a dog", "the cat sat"), 0.0, 1e-12);
  EXPECT_NEAR(score_of("Hello, world! It costs $3.50, i.e. 3-4 dollars.",
                       "Hello world; it cost $3.50 (3-4 dollars)."),
              0.1769497515, 1e-9);
  EXPECT_NEAR(score_of("The well-known U.S. state's 1,000 lakes &quot;shine&quot; at 5-6 p.m.",
                       "The well known US states have 1,000 lakes, which shine at 5 p.m."),
              0.1712473045, 1e-9);
  EXPECT_NEAR(score_of("one two three four five six seven", "one two four three five seven six eight"),
              0.1557363970, 1e-9);
  EXPECT_NEAR(score_of("x", "x"), 1.0, 1e-12);
  EXPECT_NEAR(score_of("x y", "x y z"), 0.6065306597, 1e-9);
  EXPECT_EQ(score_of("", "a b"), 0.0);
}

TEST(Bleu, TakesSeveralReferences) {
  EXPECT_NEAR(
      score_of("the cat is on the mat", {"the cat sat on the mat", "there is a cat on the mat today"}),
      0.39763536438, 1e-9);
}

}  // namespace
}  // namespace sluice::rewards
