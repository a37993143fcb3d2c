#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

Case row_with(const std::string& answer) {
  Case out;
  out.row.columns = {{"answer", answer}};
  out.row.file = "test.jsonl";
  out.row.line = 3;
  return out;
}

double score_of(const std::string& completion, const std::string& gold) {
  static const auto reward = make_reward(spec("math_answer"), {});
  return *score(*reward, row_with(gold), completion).score;
}

// The table at the head of the scorer, and what is wrong beside it.
TEST(MathAnswer, KeepsToItsTableOfCases) {
  struct Row {
    std::string gold;
    std::vector<std::string> right, wrong;
  };
  const std::vector<Row> table = {
      {"\\frac12",
       {"1/2", "0.5", "\\frac{1}{2}", "\\dfrac12", ".5", "2^{-1}", "½"},
       {"1/3", "0.50001", "2", "-1/2", "1/2, 1/2"}},
      {"1\\frac{4}{5}", {"1 4/5", "9/5", "1.8", "\\frac95"}, {"1 \\cdot \\frac{4}{5}", "14/5", "-1.8"}},
      {"1,000", {"1000", "1{,}000", "1\\,000", "10^3", "1e+03", "1000.0"}, {"1,00", "1,0000", "1.000", "1"}},
      {"\\frac{1}{3}",
       {"1/3", "0.\\overline{3}", "0.\\bar{3}", "3^{-1}"},
       {"0.3333", "0.333333333333333333", "3"}},
      {"15\\%", {"15", "0.15", "15\\%", "15%", "15 percent"}, {"0.015", "1.5", "1500", "15 dollars"}},
      {"5.4 \\text{ cents}",
       {"5.4", "5.4 cents", "0.054 dollars", "5.4\\text{ cents}"},
       {"5.4 dollars", "54", "5.4 million"}},
      {"15\\mbox{ cm}^2",
       {"15", "15 cm^2", "15 square centimeters", "0.0015 m^2"},
       {"15 cm", "15 cm^3", "15 m^2"}},
      {"\\$18.90",
       {"18.90", "18.9", "\\$18.90", "18.90 dollars", "1890 cents"},
       {"18.90 cents", "1890", "18.09"}},
      {"90^\\circ", {"90", "90°", "90 degrees", "90^{\\circ}"}, {"\\pi/2", "9", "90 radians"}},
      {"1, -2",
       {"-2, 1", "\\{1, -2\\}", "x = 1 or x = -2", "1 \\text{ and } -2"},
       {"1", "1, 2", "(1, -2)", "1, -2, 3", "1, 1"}},
      {"(2,4)",
       {"(2, 4)", "\\left( 2,4 \\right)", "(2, \\frac{8}{2})"},
       {"(4,2)", "2, 4", "[2,4]", "(2,4]", "(2,4,0)", "24"}},
      {"(-\\infty, 3]",
       {"(-inf, 3]", "x \\le 3", "x <= 3", "3 \\ge x", "(-∞, 3]"},
       {"(-\\infty, 3)", "x < 3", "x \\ge 3", "(\\infty, 3]", "3"}},
      {"x \\in [-2,7]",
       {"[-2, 7]", "-2 \\le x \\le 7", "7 >= x >= -2"},
       {"(-2,7]", "-2 < x \\le 7", "[7,-2]"}},
      {"(-\\infty,2)\\cup(3,\\infty)",
       {"(3,\\infty) \\cup (-\\infty,2)", "x<2 or x>3"},
       {"(-\\infty,2)", "(-\\infty,2]\\cup(3,\\infty)", "x<2"}},
      {"1 \\pm \\sqrt{19}",
       {"1+\\sqrt{19}, 1-\\sqrt{19}", "1 ± √19", "\\{1-\\sqrt{19}, 1+\\sqrt{19}\\}"},
       {"1+\\sqrt{19}", "1 \\pm \\sqrt{91}", "-1 \\pm \\sqrt{19}"}},
      {"\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}",
       {"\\begin{bmatrix} 1 \\\\ 2 \\end{bmatrix}",
        "\\left(\\begin{array}{c} 1 \\\\ \\frac42 \\end{array}\\right)"},
       {"\\begin{pmatrix} 1 & 2 \\end{pmatrix}", "\\begin{pmatrix} 2 \\\\ 1 \\end{pmatrix}",
        "\\begin{pmatrix} 1 \\end{pmatrix}", "(1, 2)"}},
      {"x=5",
       {"5", "x = 5", "x=10/2", "5 = x", "2x = 10"},
       {"y = 5", "x = 6", "x", "x = 5 = 6", "0 = 0", "5 = 5"}},
      {"y = 2x + 3",
       {"2x + 3", "y = 3 + 2x", "-2x + y - 3 = 0", "2y = 4x + 6"},
       {"x = 2y + 3", "y = 2x - 3", "y > 2x + 3", "y = 2x + 3 + y"}},
      {"(a+5)(b+2)",
       {"ab+2a+5b+10", "(b+2)(a+5)", "a(b+2) + 5b + 10"},
       {"(a+5)(b-2)", "ab+10", "(a+b)(5+2)"}},
      {"\\frac{1}{\\sqrt{2}}",
       {"\\frac{\\sqrt{2}}{2}", "2^{-1/2}", "\\sin 45^\\circ", "\\cos \\frac{\\pi}{4}"},
       {"0.7071", "0.70710678", "\\sqrt{2}"}},
      {"\\cot x", {"\\frac{\\cos x}{\\sin x}", "1/\\tan x", "cot(x)"}, {"\\tan x", "\\cot y", "\\coth x"}},
      {"52_8", {"52_{8}", "52_8"}, {"42", "52", "52_9", "25_8"}},
      {"\\text{(C)}", {"C", "(C)", "\\textbf{(C)}", "c"}, {"D", "(CC)", "A, C", "not C"}},
      {"\\text{east}", {"east", "East", "\\text{East}"}, {"west", "\\text{north east}", "e a s t"}},
      {"11\\sqrt2",
       {"11 \\sqrt{2}", "11√2", "\\sqrt{242}", "\\frac{22}{\\sqrt2}"},
       {"\\sqrt{22}", "11\\sqrt3", "15.5563"}},
      {"6 - 5i", {"-5i + 6", "6-5\\cdot i"}, {"6 + 5i", "5 - 6i", "6-5"}},
      {".0000672", {"6.72e-05", "6.72 \\times 10^{-5}", "0.0000672"}, {"6.72 \\times 10^{5}", ".00000672"}},
      {"\\binom{10}{3}", {"120", "\\frac{10!}{3! \\, 7!}"}, {"\\binom{3}{10}", "720"}},
  };
  for (const auto& row : table) {
    for (const auto& given : row.right)
      EXPECT_EQ(score_of(given, row.gold), 1.0) << given << " for " << row.gold;
    for (const auto& given : row.wrong)
      EXPECT_EQ(score_of(given, row.gold), 0.0) << given << " for " << row.gold;
  }
}

TEST(MathAnswer, FindsTheAnswerThatIsMarked) {
  EXPECT_EQ(score_of("So x = 3, no: \\boxed{\\frac{14}{3}}.", "\\frac{14}{3}"), 1.0);
  EXPECT_EQ(score_of("First \\boxed{7}, then \\boxed{8}.", "8"), 1.0);
  EXPECT_EQ(score_of("First \\boxed{8}, then \\boxed{7}.", "8"), 0.0);
  EXPECT_EQ(score_of("<think>\\boxed{3}</think><answer>5</answer>", "5"), 1.0);
  EXPECT_EQ(score_of("<answer>so \\boxed{5}</answer>", "5"), 1.0);
  EXPECT_EQ(score_of("1 + 1 is two.\n#### 2", "2"), 1.0);
  EXPECT_EQ(score_of("Therefore, the final answer is: $\\sqrt{5}$. I hope it is correct.", "\\sqrt5"), 1.0);
  EXPECT_EQ(score_of("**Answer:** 3.5\n", "7/2"), 1.0);
  EXPECT_EQ(score_of("Answer:\n\n42", "42"), 1.0);
  EXPECT_EQ(score_of("42", "42"), 1.0);
  EXPECT_EQ(score_of("I think it might be 42", "42"), 0.0);  // nothing is marked, and all of it is no answer
  EXPECT_EQ(score_of("", "42"), 0.0);
  EXPECT_EQ(score_of("\\boxed{}", "42"), 0.0);
}

TEST(MathAnswer, TakesAWholeSolutionForTheRightAnswer) {
  EXPECT_EQ(score_of("7", "Since $3 + 4 = 7$, it is $\\boxed{7}$."), 1.0);
}

TEST(MathAnswer, SaysWhetherTheAnswerCouldBeRead) {
  const auto reward = make_reward(spec("math_answer"), {});
  EXPECT_EQ(score(*reward, row_with("5"), "6").parts, (std::map<std::string, double>{{"readable", 1.0}}));
  EXPECT_EQ(score(*reward, row_with("5"), "\\boxed{\\int_0^5 dx}").parts,
            (std::map<std::string, double>{{"readable", 0.0}}));
}

TEST(MathAnswer, ComparesWhatItCannotReadBySpelling) {
  EXPECT_EQ(score_of("\\int_0^1 f(x) \\, dx", "\\int_0^1 f(x)dx"), 1.0);
  EXPECT_EQ(score_of("\\int_0^2 f(x) \\, dx", "\\int_0^1 f(x)dx"), 0.0);
}

TEST(MathAnswer, LeavesARowWithoutAnAnswerUnscored) {
  const auto reward = make_reward(spec("math_answer", R"({"column": "solution"})"), {});
  const auto outcome = score(*reward, row_with("5"), "5");
  EXPECT_FALSE(outcome.score);
  EXPECT_EQ(outcome.unscored_reason, "column \"solution\" is missing at test.jsonl:3");
}

}  // namespace
}  // namespace sluice::rewards
