// Recipes whose stages take what a stage before them keeps, and what is said against them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/run_directory.h"
#include "tests/recipes/recipe_folder.h"

namespace sluice::recipes {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kLoop =
    R"(data = { path = "rows.jsonl", test_path = "rows.jsonl", prompt_column = "question" }
model = { hidden_size = 8, layers = 1, heads = 2, intermediate_size = 8, max_position = 16 }
tokenizer = { train = "characters" }
rewards = [{ use = "exact_answer" }]
rollout = { max_new_tokens = 4 }
batch = { max_length = 16 }

[[stages]]
use = "rejection_sampling"
name = "best"

[[stages]]
use = "sft"
steps = 2
data = { from = "best" }
)";

struct DataLoop : testing::Test {
  RecipeFolder folder;
};

TEST_F(DataLoop, AStageTakesTheSamplesOfOneBeforeIt) {
  const auto recipe = folder.load(kLoop);
  EXPECT_EQ(recipe.stages[0].role, StageRole::Sampling);
  EXPECT_FALSE(recipe.stages[0].trains());
  EXPECT_EQ(recipe.stages[0].data.prompt_column, "question");
  EXPECT_EQ(recipe.stages[1].data_from, "best");
  EXPECT_TRUE(recipe.stages[1].data.path.empty());
  EXPECT_EQ(recipe.stages[1].data.prompt_column, "prompt");  // that of the samples
  EXPECT_THAT(describe(recipe), HasSubstr("best (rejection_sampling): all training prompts x 8, right from "
                                          "reward 1, at most 4 kept of each; reward 1 exact_answer\n"));
  EXPECT_THAT(describe(recipe), HasSubstr("; from what best keeps\n"));

  const auto run = open_run(folder.path() / "runs", recipe, false);
  EXPECT_EQ(run.directory.recipe().stages[1].data.path, run.directory.root() / "samples/best.jsonl");
}

TEST_F(DataLoop, WhatItTakesMustStandBeforeItAndKeepSamples) {
  EXPECT_THAT(
      folder.refusal(kLoop, {"sft.data.from=bets"}),
      HasSubstr("stage sft: data.from: no stage before it is named \"bets\"; did you mean \"best\"?"));
  EXPECT_THAT(folder.refusal(kLoop, {"sft.data.from=sft"}), HasSubstr("no stage before it is named \"sft\""));
  EXPECT_THAT(folder.refusal(kLoop, {"best.data.from=sft"}),
              HasSubstr("no stage before it is named \"sft\""));
  EXPECT_THAT(folder.refusal(kLoop + "[[stages]]\nuse = \"sft\"\nname = \"more\"\nsteps = 1\ndata = { from = "
                                     "\"sft\" }\n"),
              HasSubstr("a stage of kind sft keeps no samples; one of kind rejection_sampling does"));
  EXPECT_THAT(folder.refusal(kLoop + "[[stages]]\nuse = \"eval\"\ndata = { from = \"best\" }\n"),
              HasSubstr("an evaluation asks held-out prompts"));
  EXPECT_THAT(folder.refusal(kLoop, {"sft.data.path=rows.jsonl"}),
              HasSubstr("data.from and data.path do not go together"));
}

TEST_F(DataLoop, PairsAreForPreferencesAndNothingElseIs) {
  EXPECT_THAT(folder.refusal(kLoop, {"best.samples.pairs=true"}), HasSubstr("it keeps pairs"));
  std::string dpo = kLoop;
  dpo.replace(dpo.find("\"sft\""), 5, "\"dpo\"");
  EXPECT_THAT(folder.refusal(dpo), HasSubstr("set samples.pairs = true there"));
  EXPECT_EQ(folder.refusal(dpo, {"samples.pairs=true"}), "");
  EXPECT_THAT(folder.refusal(dpo, {"samples.pairs=true", "preference.loss=kto"}),
              HasSubstr("this loss learns from completions that were judged"));
  EXPECT_THAT(folder.refusal(dpo, {"samples.pairs=true", "dpo.data.order_by=pass_rate"}),
              HasSubstr("choose prompts and examples, not preferences"));
}

TEST_F(DataLoop, RowsAreChosenByPassRateAndLengthAndOrderedByAColumn) {
  const auto recipe = folder.load(
      kLoop, {"sft.data.max_pass_rate=0.5", "sft.data.order_by=level", "best.data.max_prompt_chars=200"});
  EXPECT_EQ(recipe.stages[1].data.choice.max_pass_rate, 0.5);
  EXPECT_EQ(recipe.stages[1].data.choice.min_pass_rate, std::nullopt);
  EXPECT_EQ(recipe.stages[1].data.choice.order_by, "level");
  EXPECT_EQ(recipe.stages[0].data.choice.max_prompt_chars, 200);
  EXPECT_THAT(folder.refusal(kLoop, {"data.min_pass_rate=0.6", "data.max_pass_rate=0.5"}),
              HasSubstr("data.min_pass_rate is above data.max_pass_rate"));
}

TEST_F(DataLoop, ADistillStageHasATeacherAndTheTableIsItsAlone) {
  std::string distill = kLoop;
  distill.replace(distill.find("\"sft\""), 5, "\"distill\"");
  EXPECT_THAT(folder.refusal(distill), HasSubstr("stage distill: teacher.path is not set"));
  EXPECT_THAT(folder.refusal(kLoop, {"sft.teacher.path=dir"}),
              HasSubstr("a stage of kind sft has no [teacher]"));
  const std::vector<std::string> teacher{"distill.teacher.path=dir"};
  EXPECT_THAT(folder.refusal(distill, {teacher[0], "distill.batch.loss=dft"}), HasSubstr("batch.loss"));

  const auto spec = folder.load(distill, {teacher[0], "distill.teacher.kl=reverse"}).stages[1].distill;
  ASSERT_TRUE(spec.has_value());
  EXPECT_EQ(spec->teacher.filename(), "dir");
  EXPECT_EQ(spec->options.kl, sft::KlDirection::Reverse);
}

TEST_F(DataLoop, ShippedRecipesLoad) {
  const auto stages_of = [](const char* name) {
    std::vector<std::string> names;
    const auto file = std::filesystem::path(SLUICE_SOURCE_DIR) / "recipes" / (std::string(name) + ".toml");
    for (const auto& stage : load_recipe(file, {}).stages) names.push_back(stage.name);
    return names;
  };
  EXPECT_THAT(stages_of("rejection_sampling"), ElementsAre("cold_start", "eval_before", "rejection_sampling",
                                                           "learn_from_best", "eval_after"));
  EXPECT_THAT(stages_of("dpo"), ElementsAre("cold_start", "eval_before", "pairs", "dpo", "eval_after"));
  EXPECT_THAT(stages_of("r1"), ElementsAre("cold_start", "eval_cold_start", "reasoning", "rejection_sampling",
                                           "learn_from_best", "all_scenarios", "eval_after"));
  EXPECT_THAT(stages_of("distill"), ElementsAre("distill", "eval"));
}

}  // namespace
}  // namespace sluice::recipes
