#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

const Json kCities = {"London", "Paris", "Rome", "Bern"};

RewardOutcome outcome_of(const std::string& completion, const Json& answer, const Json& choices = kCities) {
  Case from;
  from.row.columns = {{"answer", answer}};
  if (!choices.is_null()) from.row.columns["choices"] = choices;
  from.row.file = "quiz.jsonl";
  from.row.line = 4;
  return score(*make_reward(spec("multiple_choice"), {}), from, completion);
}

double score_of(const std::string& completion, const Json& answer = "B") {
  return *outcome_of(completion, answer).score;
}

TEST(MultipleChoice, KeepsToItsTableOfCases) {
  for (const char* right : {"B",
                            "b",
                            "(B)",
                            "[B]",
                            "B.",
                            "B)",
                            "B) Paris",
                            "(B) Paris",
                            "B: Paris",
                            "B. Paris",
                            "\\boxed{\\text{(B)}}",
                            "\\boxed{B}",
                            "**B**",
                            "Option B",
                            "choice (B)",
                            "The answer is (B). It is known.",
                            "The answer is B",
                            "Answer: B) Paris",
                            "<answer>B</answer>",
                            "Paris",
                            "paris.",
                            "I think so.\nB",
                            "It is clear.\n\n**Answer:** (B)",
                            "A or C? No.\n(B) Paris"}) {
    EXPECT_EQ(score_of(right), 1.0) << right;
  }
  for (const char* wrong :
       {"A", "A or B", "(A) or (B)", "AB", "B A", "B or A", "A dog barks", "H", "", "Maybe B",
        "<answer>Bern</answer>", "B\nA", "\\boxed{A} or B", "A) or B) or C)", "[B)", "(B", "1", "Β"}) {
    EXPECT_EQ(score_of(wrong), 0.0) << wrong;
  }
}

TEST(MultipleChoice, ReadsTheRightOneAsLetterNumberOrText) {
  for (const Json& gold : {Json("B"), Json("(b)"), Json("B. Paris"), Json(1), Json("Paris")})
    EXPECT_EQ(score_of("B", gold), 1.0) << gold;
  for (const Json& gold : {Json(0), Json("London"), Json("C")}) EXPECT_EQ(score_of("B", gold), 0.0) << gold;
  EXPECT_EQ(outcome_of("Z", "Z", nullptr).score, 1.0);
}

TEST(MultipleChoice, SaysWhetherSomethingWasChosen) {
  EXPECT_EQ(outcome_of("A", "B").parts.at("chosen"), 1.0);
  EXPECT_EQ(outcome_of("H", "B").parts.at("chosen"), 0.0);
  EXPECT_EQ(outcome_of("hm", "B").parts.at("chosen"), 0.0);
}

TEST(MultipleChoice, LeavesARowWithoutAChoiceUnscored) {
  for (const Json& gold : {Json("E"), Json(4), Json(-1), Json("Madrid")}) {
    EXPECT_EQ(outcome_of("B", gold).unscored_reason, "column \"answer\" is no choice at quiz.jsonl:4")
        << gold;
  }
}

}  // namespace
}  // namespace sluice::rewards
