#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

const std::string kData = SLUICE_SOURCE_DIR "/data/gsm8k/";

Case row_with(const Json& answer) {
  Case out;
  out.row.columns = {{"answer", answer}};
  out.row.file = "train.jsonl";
  out.row.line = 9;
  return out;
}

double score_of(const std::string& completion, const Json& gold) {
  static const auto reward = make_reward(spec("gsm8k"), {});
  return *score(*reward, row_with(gold), completion).score;
}

TEST(Gsm8k, KeepsToItsTableOfCases) {
  const std::string gold = "He makes 9 * 2 = $<<9*2=18>>18.\n#### 18";
  EXPECT_EQ(score_of("5 + 13 is 18.\n#### 18", gold), 1.0);
  EXPECT_EQ(score_of("5 + 13 is 18.\nA: 18", gold), 1.0);
  EXPECT_EQ(score_of("5 + 13 is 18.\nA: 18", "He makes 18.\nA: 18"), 1.0);
  EXPECT_EQ(score_of("#### $1,250.00", "#### 1250"), 1.0);
  EXPECT_EQ(score_of("#### 1250", "#### 1,250"), 1.0);
  EXPECT_EQ(score_of("#### 18", "He makes 18. #### 18"), 1.0);
  EXPECT_EQ(score_of("A: 18", "He makes 18. A: 18"), 1.0);
  EXPECT_EQ(score_of("He makes 18. #### 18", "#### 18"), 0.0);  // a completion's mark begins a line
  EXPECT_EQ(score_of("A: 5\nNo.\nA: 18", "18"), 1.0);
  EXPECT_EQ(score_of("A: 18\nNo.\nA: 5", "18"), 0.0);
  EXPECT_EQ(score_of("A: 5\n#### 18", "18"), 1.0);
  EXPECT_EQ(score_of("#### 18\nA: 5", "18"), 0.0);
  EXPECT_EQ(score_of("The answer is 18", gold), 0.0);
  EXPECT_EQ(score_of("18", gold), 0.0);
  EXPECT_EQ(score_of("#### 18 apples", gold), 0.0);
  EXPECT_EQ(score_of("", gold), 0.0);
}

TEST(Gsm8k, ComparesNumbersDigitByDigit) {
  for (const char* text : {"18", "18.", "18.0", "018", " 18 ", "$18", "18.000"})
    EXPECT_EQ(score_of("#### " + std::string(text), 18), 1.0) << text;
  for (const char* text : {"-18",
                           "1.8",
                           "180",
                           "17.9999999999999999999",
                           "18.0000000000000000001",
                           "1 8",
                           "18%",
                           "+18",
                           "1,8",
                           "18,",
                           ",18",
                           "18.0.0",
                           "0x12",
                           "1.8e1",
                           "18-",
                           "--18",
                           "$",
                           "",
                           "-",
                           ".",
                           "１８",
                           "NaN",
                           "18\xff"}) {
    EXPECT_EQ(score_of("#### " + std::string(text), 18), 0.0) << text;
  }
  EXPECT_EQ(score_of("A: -0.50", -0.5), 1.0);
  EXPECT_EQ(score_of("A: .5", "0.5"), 1.0);
  EXPECT_EQ(score_of("A: -0", 0), 1.0);
  EXPECT_EQ(score_of("A: 1,234,567", 1234567), 1.0);
  EXPECT_EQ(score_of("A: 1,23", 123), 0.0);
  EXPECT_EQ(score_of("A: " + std::string(60'000, '7'), std::string(60'000, '7')), 1.0);
}

TEST(Gsm8k, LeavesARowWithoutANumberUnscored) {
  const auto reward = make_reward(spec("gsm8k"), {});
  EXPECT_EQ(score(*reward, row_with("#### many"), "#### 18").unscored_reason,
            "column \"answer\" ends in no number at train.jsonl:9");
  EXPECT_THAT(score(*reward, row_with(nullptr), "#### 18").unscored_reason,
              testing::HasSubstr("is of type null"));
}

TEST(Gsm8k, FindsTheNumberOfEverySolution) {
  const auto reward = make_reward(spec("gsm8k"), {});
  int64_t right = 0;
  for (const char* file : {"train.jsonl", "test.jsonl"}) {
    const auto rows =
        text::open_prompts({.path = kData + file, .prompt_column = "question"}, text::Split::Train);
    text::for_each_row(*rows, [&](text::Row row) {
      Case from;
      from.row = std::move(row);
      right += score(*reward, from, from.row.columns["answer"].get<std::string>()).score == 1.0 ? 1 : 0;
    });
  }
  EXPECT_EQ(right, 7'473 + 1'319);
}

// Real generations of four models, each labelled by the makers of the data.
TEST(Gsm8k, AgreesWithEveryLabelOfTheModelSolutions) {
  const auto reward = make_reward(spec("gsm8k", R"({"column": "ground_truth"})"), {});
  int64_t labelled = 0, correct = 0;
  const auto rows = text::open_prompts({.path = kData + "model_solutions.jsonl", .prompt_column = "question"},
                                       text::Split::Train);
  text::for_each_row(*rows, [&](text::Row row) {
    Case from;
    from.row = std::move(row);
    for (const char* model : {"6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"}) {
      const Json& solution = from.row.columns.at(model);
      const bool label = solution.at("is_correct").get<bool>();
      EXPECT_EQ(score(*reward, from, solution.at("solution").get<std::string>()).score, label ? 1.0 : 0.0)
          << from.row.where() << " " << model;
      ++labelled;
      correct += label ? 1 : 0;
    }
  });
  EXPECT_EQ(labelled, 5'276);
  EXPECT_EQ(correct, 2'001);
}

}  // namespace
}  // namespace sluice::rewards
