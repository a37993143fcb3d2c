#include "recipes/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/recipes/recipe_folder.h"

namespace sluice::recipes {
namespace {

using testing::HasSubstr;

constexpr double kSeconds = 65.0;

Json evaluation(const std::string& stage, double reward, const std::string& completion) {
  return {{"name", stage},
          {"use", "eval"},
          {"checkpoint", "step_000004"},
          {"evals",
           {{{"stage", stage},
             {"split", "held_out"},
             {"metric", "reward"},
             {"n", 8},
             {"value", reward},
             {"stderr", 0.01}}}},
          {"samples", {{{"prompt", "to be\nor"}, {"completion", completion}}}},
          {"seconds", 2.0}};
}

struct SummaryTest : testing::Test {
  void finish() const {
    run_.directory.write_stage_result("before", evaluation("before", 0.25, "xq zz"));
    run_.directory.write_stage_result("grpo",
                                      {{"name", "grpo"}, {"use", "grpo"}, {"steps", 4}, {"seconds", 58.25}});
    run_.directory.write_stage_result("after", evaluation("after", 0.75, " not to be"));
  }

  RecipeFolder folder_;
  const Recipe recipe_ = folder_.load(
      "[[stages]]\nuse = \"eval\"\nname = \"before\"\n[[stages]]\nuse = \"grpo\"\nsteps = 4\n"
      "[[stages]]\nuse = \"eval\"\nname = \"after\"\n",
      {"data={use=\"text\", path=\"corpus.txt\"}", "tokenizer.train=characters",
       "rewards=[{use=\"real_words\"}]"});
  const OpenedRun run_ = open_run(folder_.path() / "runs", recipe_, false);
};

TEST_F(SummaryTest, HoldsStagesAndFiguresInTheOrderOfTheRun) {
  finish();
  const Json json = summary(run_.directory, recipe_, kSeconds);

  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["seconds"], kSeconds);
  EXPECT_EQ(finished_seconds(run_.directory, recipe_), 62.25);  // 2 + 58.25 + 2
  ASSERT_EQ(json["stages"].size(), 3u);
  EXPECT_EQ(json["stages"][1], Json({{"name", "grpo"}, {"use", "grpo"}, {"steps", 4}, {"seconds", 58.25}}));
  EXPECT_FALSE(json["stages"][0].contains("samples"));
  ASSERT_EQ(json["evals"].size(), 2u);
  EXPECT_EQ(json["evals"][1], Json({{"stage", "after"},
                                    {"split", "held_out"},
                                    {"metric", "reward"},
                                    {"n", 8},
                                    {"value", 0.75},
                                    {"stderr", 0.01}}));
}

TEST_F(SummaryTest, IsKeptInTheRun) {
  finish();
  write_summary(run_.directory, recipe_, kSeconds);
  const Json file = read_json(run_.directory.root() / "summary.json");
  EXPECT_EQ(file["evals"], summary(run_.directory, recipe_, kSeconds)["evals"]);
  EXPECT_EQ(file["samples"]["after"][0]["completion"], " not to be");
}

TEST_F(SummaryTest, LeavesOutStagesThatHaveNotEnded) {
  run_.directory.write_stage_result("before", evaluation("before", 0.25, "xq zz"));
  EXPECT_EQ(summary(run_.directory, recipe_, kSeconds)["stages"].size(), 1u);
}

TEST_F(SummaryTest, TableShowsBeforeAndAfter) {
  finish();
  write_summary(run_.directory, recipe_, kSeconds);
  const auto table = summary_table(run_.directory, recipe_);
  EXPECT_THAT(table, HasSubstr("done in 1m 05s"));
  EXPECT_THAT(table,
              testing::ContainsRegex("reward \\(held_out\\) +0\\.250 \\+- 0\\.010 +0\\.750 \\+- 0\\.010"));
  EXPECT_THAT(table, HasSubstr("\"to be\\nor\"\n      before  xq zz\n      after    not to be\n"));
  EXPECT_THAT(table, HasSubstr((run_.directory.root() / "checkpoints/latest/hf").string()));
  EXPECT_THAT(table, HasSubstr((run_.directory.root() / "summary.json").string()));
}

// Completions once went to the terminal as they were, and it did what they said.
TEST_F(SummaryTest, TheTableIsInertAndShort) {
  run_.directory.write_stage_result(
      "after", evaluation("after", 0.75, "\x1b]0;owned\x07" + std::string(10 << 20, 'x')));
  write_summary(run_.directory, recipe_, kSeconds);
  const auto table = summary_table(run_.directory, recipe_);
  EXPECT_THAT(table, testing::AllOf(HasSubstr("\\x1b]0;owned\\x07xxx"), testing::Not(HasSubstr("\x1b"))));
  EXPECT_LT(table.size(), 2000u);
}

TEST_F(SummaryTest, KeepsCompletionsThatWereCutWithinACharacter) {
  run_.directory.write_stage_result("after", evaluation("after", 0.75, "caf\xc3"));
  write_summary(run_.directory, recipe_, kSeconds);
  const Json file = read_json(run_.directory.root() / "summary.json");
  EXPECT_EQ(file["samples"]["after"][0]["completion"], "caf\xef\xbf\xbd");  // U+FFFD
}

}  // namespace
}  // namespace sluice::recipes
