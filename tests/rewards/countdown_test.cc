#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

Case task(const std::string& numbers, int64_t target) {
  Case out;
  out.row.columns = {{"numbers", Json::parse(numbers)}, {"target", target}};
  out.row.file = "test.jsonl";
  out.row.line = 7;
  return out;
}

RewardOutcome outcome_of(const Case& from, const std::string& completion, const std::string& options = "{}") {
  return score(*make_reward(spec("countdown", options), {}), from, completion);
}

double score_of(const Case& from, const std::string& expression) {
  return *outcome_of(from, "<answer>" + expression + "</answer>").score;
}

TEST(Countdown, WantsTheTargetFromEachNumberOnce) {
  const auto from = task("[79, 17, 60]", 36);

  EXPECT_EQ(score_of(from, "(79+(17-60))"), 1.0);
  EXPECT_EQ(score_of(from, " 79 - 60\n+ 17 "), 1.0);
  EXPECT_EQ(score_of(from, "79-60"), 0.0);           // 17 is left over
  EXPECT_EQ(score_of(from, "79-60+17+0"), 0.0);      // 0 is not there
  EXPECT_EQ(score_of(from, "79-60+17*17/17"), 0.0);  // 17 is there once
  EXPECT_EQ(score_of(from, "79-17-60"), 0.0);        // is 2
  EXPECT_EQ(score_of(from, "36"), 0.0);
  EXPECT_EQ(score_of(task("[5, 5, 5]", 5), "5+5-5"), 1.0);
  EXPECT_EQ(score_of(task("[5, 5, 5]", 10), "5+5"), 0.0);
}

TEST(Countdown, ComputesWithFractions) {
  EXPECT_EQ(score_of(task("[8, 3, 8, 3]", 24), "8/(3-8/3)"), 1.0);
  EXPECT_EQ(score_of(task("[1, 3, 3]", 1), "(1/3)*3"), 1.0);
  EXPECT_EQ(score_of(task("[7, 2]", 3), "7/2"), 0.0);  // is 3.5, not rounded
  EXPECT_EQ(score_of(task("[2, 3, 4]", 14), "2+3*4"), 1.0);
  EXPECT_EQ(score_of(task("[2, 3, 4]", 20), "2+3*4"), 0.0);
  EXPECT_EQ(score_of(task("[9, 4, 3]", 2), "9-4-3"), 1.0);  // from the left
  EXPECT_EQ(score_of(task("[24, 4, 3]", 2), "24/4/3"), 1.0);
  EXPECT_EQ(score_of(task("[3, 5]", 2), "-3+5"), 1.0);
  EXPECT_EQ(score_of(task("[3, 5]", -2), "3-5"), 1.0);
  EXPECT_EQ(score_of(task("[10, 5]", -2), "10/-5"), 1.0);
}

TEST(Countdown, ReadsTheLastAnswerThatIsClosed) {
  const auto from = task("[2, 3]", 5);
  const auto whole = [&](const std::string& completion) { return *outcome_of(from, completion).score; };

  EXPECT_EQ(whole("2*3=6, no. 2+3=5.\n<answer>2*3</answer> or <answer>2+3</answer>!"), 1.0);
  EXPECT_EQ(whole("<answer>2+3</answer> or <answer>2*3</answer>"), 0.0);
  EXPECT_EQ(whole("<answer>2+3</answer> and <answer>"), 1.0);
  EXPECT_EQ(whole("<answer>2*3 <answer>2+3</answer> </answer>"), 1.0);
  EXPECT_EQ(whole("2+3"), 0.0);
  EXPECT_EQ(whole("<answer>2+3"), 0.0);
  EXPECT_EQ(whole("2+3</answer>"), 0.0);
  EXPECT_EQ(whole("</answer>2+3<answer>"), 0.0);
  EXPECT_EQ(whole("<Answer>2+3</Answer>"), 0.0);
  EXPECT_EQ(whole(""), 0.0);
}

TEST(Countdown, NamesItsParts) {
  const auto from = task("[2, 3]", 5);
  using Parts = std::map<std::string, double>;

  EXPECT_EQ(outcome_of(from, "<answer>3+2</answer>").parts, (Parts{{"format", 1}, {"correct", 1}}));
  EXPECT_EQ(outcome_of(from, "<answer>3*2</answer>").parts, (Parts{{"format", 1}, {"correct", 0}}));
  EXPECT_EQ(outcome_of(from, "<answer>3+2=5</answer>").parts, (Parts{{"format", 0}, {"correct", 0}}));
}

TEST(Countdown, GivesAnExpressionTheFormatScoreWhenAsked) {
  const auto from = task("[2, 3]", 5);
  const std::string options = R"({"format_score": 0.1})";

  EXPECT_EQ(outcome_of(from, "<answer>2+3</answer>", options).score, 1.0);
  EXPECT_EQ(outcome_of(from, "<answer>2*3</answer>", options).score, 0.1);
  EXPECT_EQ(outcome_of(from, "<answer>2/(3-3)</answer>", options).score, 0.1);
  EXPECT_EQ(outcome_of(from, "<answer>two</answer>", options).score, 0.0);
  EXPECT_EQ(outcome_of(from, "2*3", options).score, 0.0);
  for (const char* bad : {"1", "-0.1", "\"a\""}) {
    EXPECT_THROW(make_reward(spec("countdown", R"({"format_score": )" + std::string(bad) + "}"), {}),
                 UsageError)
        << bad;
  }
}

TEST(Countdown, TakesNothingElseForAnExpression) {
  const auto from = task("[2, 3]", 8);
  for (const char* text :
       {"2**3",  "2//3", "2^3",   "2 3",   "2+",   "*2",     "(2+3", "2+3)", "()",   "2(3)",
        "2.0+3", "2,3",  "0x2+3", "2+3=5", "2+3;", "2+3\n5", "２+3", "2×3",  "2-‐3", "__import__('os')",
        "1e3",   "",     " "}) {
    EXPECT_EQ(outcome_of(from, "<answer>" + std::string(text) + "</answer>").parts.at("format"), 0.0) << text;
  }
  std::string zero = "2+3";
  zero += '\0';
  EXPECT_EQ(outcome_of(from, "<answer>" + zero + "</answer>").parts.at("format"), 0.0);
}

TEST(Countdown, StandsHostileText) {
  const auto from = task("[2, 3]", 5);
  const auto format = [&](const std::string& text) {
    return outcome_of(from, "<answer>" + text + "</answer>").parts.at("format");
  };
  const auto nested = [](size_t depth) { return std::string(depth, '(') + "2+3" + std::string(depth, ')'); };
  EXPECT_EQ(score_of(from, nested(31)), 1.0);
  EXPECT_EQ(format(nested(32)), 0.0);
  EXPECT_EQ(format(std::string(1'000'000, '(')), 0.0);
  EXPECT_EQ(format(std::string(200, '-') + "2+3"), 0.0);
  EXPECT_EQ(format("2+3" + std::string(253, ' ')), 1.0);
  EXPECT_EQ(format("2+3" + std::string(254, ' ')), 0.0);
  EXPECT_EQ(format("2+9999999999999999999"), 0.0);

  std::string tags;
  for (int i = 0; i < 100'000; ++i) tags += "<answer>";
  EXPECT_EQ(outcome_of(from, tags).score, 0.0);
}

// What does not fit 18 digits is no number that the target could be.
TEST(Countdown, DoesNotOverflow) {
  const std::string big = "999999999999999999";
  const auto from = task("[" + big + ", " + big + "]", 1);
  for (const char op : {'+', '*'}) {
    const auto outcome = outcome_of(from, "<answer>" + big + op + big + "</answer>");
    EXPECT_EQ(outcome.score, 0.0);
    EXPECT_EQ(outcome.parts.at("format"), 1.0);
  }
  EXPECT_EQ(score_of(from, big + "/" + big), 1.0);
  EXPECT_EQ(score_of(task("[0, 5]", 0), "5/0"), 0.0);
  EXPECT_EQ(score_of(task("[0, 5]", 0), "0/5"), 1.0);
}

// Whoever wrote the data checked it with another evaluator.
TEST(Countdown, AgreesWithTheSolutionsOfTheData) {
  const auto reward = make_reward(spec("countdown"), {});
  const std::string folder = SLUICE_SOURCE_DIR "/data/countdown/";
  int64_t solved = 0;
  for (const auto& file : {folder + "test.jsonl", folder + "cold_start.jsonl"}) {
    const auto rows = text::open_prompts({.path = file}, text::Split::Train);
    text::for_each_row(*rows, [&](text::Row row) {
      Case from;
      from.row = std::move(row);
      const std::string completion =
          from.row.completion.empty()
              ? "<answer>" + from.row.columns["gold_expr"].get<std::string>() + "</answer>"
              : from.row.completion;
      EXPECT_EQ(score(*reward, from, completion).score, 1.0) << from.row.where();
      ++solved;
    });
  }
  EXPECT_EQ(solved, 1500);
}

// Each wrong whatever the numbers are: one too many, one too few, another one, or no expression.
std::vector<std::string> mutations(const std::string& right, const Json& numbers, int64_t target) {
  const std::string first = numbers[0].dump();
  const size_t at = right.find_first_of("0123456789"), end = right.find_first_not_of("0123456789", at);
  const std::string begin = right.substr(0, at), rest = end == std::string::npos ? "" : right.substr(end);
  const auto number = std::stoll(right.substr(at));
  const auto with = [&](const std::string& text) { return begin + text + rest; };
  return {right + "+1",
          right + "-0",
          "1*(" + right + ")",
          "(" + right + ")/1",
          "-(" + right + ")",
          right + "+" + first + "-" + first,
          std::to_string(target),
          right + "=" + std::to_string(target),
          "x=" + right,
          with(std::to_string(number + 1)),
          with(std::to_string(number) + "0"),
          with("(" + std::to_string(number) + "^1)"),
          with("(" + std::to_string(number)),
          right + ")",
          right + "//1",
          right + " " + first,
          "(" + right + ")*(" + right + ")/(" + right + ")",
          right + " or " + right,
          right.substr(0, right.find_last_of("+-*/")),
          ""};
}

TEST(Countdown, NoMutationOfARightAnswerIsRight) {
  const auto reward = make_reward(spec("countdown"), {});
  const auto rows =
      text::open_prompts({.path = SLUICE_SOURCE_DIR "/data/countdown/test.jsonl"}, text::Split::Train);
  int64_t tried = 0;
  text::for_each_row(*rows, [&](text::Row row) {
    Case from;
    from.row = std::move(row);
    const auto& columns = from.row.columns;
    const auto texts = mutations(columns.at("gold_expr"), columns.at("numbers"), columns.at("target"));
    for (const auto& text : texts) {
      EXPECT_EQ(score(*reward, from, "<answer>" + text + "</answer>").score, 0.0)
          << text << " of " << from.row.where();
      ++tried;
    }
  });
  EXPECT_EQ(tried, 500 * 20);
}

TEST(Countdown, LeavesARowWithoutUsableColumnsUnscored) {
  const auto reason = [](const char* columns) {
    Case from;
    from.row.columns = Json::parse(columns);
    from.row.file = "test.jsonl";
    from.row.line = 7;
    const auto outcome = outcome_of(from, "<answer>2+3</answer>");
    EXPECT_FALSE(outcome.score);
    return outcome.unscored_reason;
  };
  EXPECT_EQ(reason(R"({"target": 5})"), "column \"numbers\" is not a list of whole numbers at test.jsonl:7");
  EXPECT_THAT(reason(R"({"numbers": [], "target": 5})"), HasSubstr("\"numbers\""));
  EXPECT_THAT(reason(R"({"numbers": [2, 3.5], "target": 5})"), HasSubstr("\"numbers\""));
  EXPECT_THAT(reason(R"({"numbers": "2 3", "target": 5})"), HasSubstr("\"numbers\""));
  EXPECT_EQ(reason(R"({"numbers": [2, 3]})"), "column \"target\" is not a whole number at test.jsonl:7");
  EXPECT_THAT(reason(R"({"numbers": [2, 3], "target": "5"})"), HasSubstr("\"target\""));
}

}  // namespace
}  // namespace sluice::rewards
