#include "recipes/internal/retention.h"

#include <gtest/gtest.h>

#include "tests/base/temp_folder.h"
#include "tests/tiny_network.h"

namespace sluice::recipes::internal {
namespace {

TEST(Score, IsTheMeanSinceItWasTaken) {
  Score score("reward");
  EXPECT_EQ(score.take(), std::nullopt);
  score.add({{"reward", 1.0}, {"kl", 9.0}});
  score.add({{"kl", 9.0}});
  score.add({{"reward", 2.0}});
  EXPECT_EQ(score.take(), 1.5);
  EXPECT_EQ(score.take(), std::nullopt);
  EXPECT_EQ(score.problem(), "");
  score.add({{"reward", 4.0}});
  EXPECT_EQ(score.take(), 4.0);
}

TEST(Score, SaysThatNoStepHasTheMetric) {
  Score score("rewrad");
  score.add({{"reward", 1.0}, {"kl", 9.0}});
  EXPECT_EQ(score.problem(),
            "checkpoint.best_by: no step has had the metric rewrad; did you mean \"reward\"?");
  EXPECT_EQ(Score("").problem(), "");
}

TEST(StepOfNewest, CountsTheCheckpointsOfOneStage) {
  const TempFolder folder;
  const auto tokenizer = text::train_character_tokenizer("to be or not to be\n");
  const auto network = tiny_network();
  const auto write = [&](int64_t step, const std::string& stage, int64_t stage_step) {
    write_checkpoint(folder.path(), {.step = step, .stage = stage, .stage_step = stage_step},
                     {.network = *network, .tokenizer = *tokenizer}, {.keep_last = 9});
  };
  write(10, "sft", 10);
  write(12, "grpo", 2);
  EXPECT_EQ(step_of_newest(folder.path(), "grpo", 1), 2);
  EXPECT_EQ(step_of_newest(folder.path(), "grpo", 2), 0);  // where the stage began
  write(14, "grpo", 4);
  write(16, "grpo", 6);
  EXPECT_EQ(step_of_newest(folder.path(), "grpo", 2), 4);
}

}  // namespace
}  // namespace sluice::recipes::internal
