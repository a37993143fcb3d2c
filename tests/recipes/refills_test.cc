#include "recipes/internal/refills.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/recipes/recipe_folder.h"

namespace sluice::recipes {
namespace {

using learner::RefillFallback;
using testing::HasSubstr;
using testing::Not;

std::string recipe_of(const std::string& use, const std::string& rollout) {
  return "rewards = [{ use = \"exact_answer\" }]\n[model]\npath = \"model\"\n[data]\npath = "
         "\"train.jsonl\"\n[[stages]]\nuse = \"" +
         use + "\"\nsteps = 12\nrollout = { " + rollout + " }\n";
}

TEST(Refills, AreDaposAndNobodyElses) {
  const auto dapo = RecipeFolder().load(recipe_of("dapo", ""));
  EXPECT_EQ(dapo.stages[0].rollout.refills, 3);
  EXPECT_EQ(dapo.stages[0].rollout.refill_fallback, RefillFallback::Keep);
  EXPECT_THAT(
      describe(dapo),
      HasSubstr("clipped to 1 - 0.2 .. 1 + 0.28; mean over tokens; groups of equal rewards dropped, up "
                "to 3 other prompts in place of each, then the last kept; reward 1 exact_answer"));
  for (const auto& kind : stage_kinds()) {
    if (kind.role != StageRole::Policy || kind.use == "dapo" || kind.use == "gdpo") continue;
    const auto recipe = RecipeFolder().load(recipe_of(kind.use, ""));
    EXPECT_EQ(recipe.stages[0].rollout.refills, 0) << kind.use;
    EXPECT_THAT(describe(recipe), Not(HasSubstr("dropped"))) << kind.use;
  }
}

TEST(Refills, SayWhatComesAfterTheLast) {
  const auto words = [](const std::string& rollout) {
    return internal::refills_in_words(RecipeFolder().load(recipe_of("grpo", rollout)).stages[0].rollout);
  };
  EXPECT_EQ(words(""), "");
  EXPECT_EQ(
      words("refills = 5, refill_fallback = \"shrink\""),
      "; groups of equal rewards dropped, up to 5 other prompts in place of each, then a shorter batch");
  EXPECT_THAT(words("refills = 1, refill_fallback = \"stop\""), HasSubstr("up to 1 other prompt in place"));
  EXPECT_THAT(words("refills = 1, refill_fallback = \"stop\""), HasSubstr("then the run stopped"));
}

TEST(Refills, WhatMeansNothingIsRefused) {
  const auto refusal = [](const std::string& use, const std::string& rollout) {
    return RecipeFolder().refusal(recipe_of(use, rollout));
  };
  EXPECT_THAT(refusal("grpo", "refill_fallback = \"keep\""),
              HasSubstr("rollout.refill_fallback is for rollout.refills above 0, which is 0 here"));
  EXPECT_THAT(refusal("dapo", "refills = 0, refill_fallback = \"stop\""), HasSubstr("which is 0 here"));
  EXPECT_EQ(refusal("dapo", "refill_fallback = \"stop\""), "");
  EXPECT_THAT(refusal("grpo", "refill_fallback = \"skip\", refills = 2"), HasSubstr("shrink"));
  EXPECT_THAT(refusal("grpo", "refills = 1001"), HasSubstr("it goes from 0 to 1000"));
  EXPECT_THAT(refusal("reinforce", "refills = 2, group_size = 1"),
              HasSubstr("rollout.refills 2 drops groups whose rewards are all equal, which a group of one"));
}

}  // namespace
}  // namespace sluice::recipes
