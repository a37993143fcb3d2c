#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <string>

#include "base/files.h"
#include "base/json_lines.h"
#include "recipes/internal/stage_context.h"
#include "tests/recipes/recipe_folder.h"
#include "transport/collective.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

// A stage of 6 steps on a text whose last tenth, "the so so\n" and a bit, is held out.
class SftStageRun {
 public:
  explicit SftStageRun(const std::vector<std::string>& overrides = {}) : recipe_(load(overrides)) {}

  int run(const StopRequest& stop = [] { return 0; }) {
    transport::SoloCollective alone;
    return run_sft_stage(run_.directory, recipe_, recipe_.stages.front(), stop, alone);
  }
  // Until so many steps are reported.
  int run_until(int64_t steps) {
    return run([this, steps] { return std::ssize(metrics()) >= steps ? SIGTERM : 0; });
  }

  std::vector<Json> metrics() const {
    std::vector<Json> lines;
    if (!fs::exists(run_.directory.metrics())) return lines;
    for_each_json_line(run_.directory.metrics(),
                       [&](int64_t, Json line) { lines.push_back(std::move(line)); });
    return lines;
  }
  std::optional<Json> result() const { return run_.directory.stage_result("pretrain"); }
  std::string weights() const {
    return sha256_file(run_.directory.checkpoints() / "step_000006/hf/model.safetensors");
  }

 private:
  Recipe load(std::vector<std::string> overrides) const {
    std::string text;
    for (int i = 0; i < 20; ++i) text += "to be or not to be the so\n";
    folder_.write(text, "corpus.txt");
    overrides.insert(overrides.end(),
                     {"tokenizer.train=characters", "monitor.redis=off", "model.hidden_size=16",
                      "model.layers=1", "model.heads=2", "model.intermediate_size=24", "optim.lr=0.01",
                      "batch.examples_per_step=4", "data.window_chars=13", "evaluation.prompts=0"});
    return folder_.load(
        "data = { use = \"text\", path = \"corpus.txt\" }\n[[stages]]\nuse = \"pretrain\"\nsteps = 6\n",
        overrides);
  }

  const RecipeFolder folder_;
  const Recipe recipe_;
  const OpenedRun run_ = open_run(folder_.path() / "runs", recipe_, false);
};

TEST(SftStage, SaysItsHeldOutLossEveryFewStepsAndAtTheEnd) {
  SftStageRun stage({"pretrain.evaluation.every=4"});
  EXPECT_EQ(stage.run(), 0);
  const auto metrics = stage.metrics();
  ASSERT_EQ(metrics.size(), 6u);
  for (const size_t step : {1, 2, 3, 5}) EXPECT_FALSE(metrics[step - 1].contains("eval_loss")) << step;
  // 520 characters, 52 of them held out, in 4 windows of 13 of which the first is no target.
  EXPECT_EQ(metrics[3].at("eval_num_tokens"), 48);
  EXPECT_TRUE(metrics[3].contains("time/evaluate"));
  EXPECT_LT(metrics[5].at("eval_loss"), metrics[3].at("eval_loss"));
  EXPECT_LT(metrics[3].at("eval_loss"), 3.0);  // of log(15) = 2.7 before; the held-out text is like the other
  EXPECT_EQ(stage.result()->at("eval_loss"), metrics[5].at("eval_loss"));
  EXPECT_EQ(stage.result()->at("eval_mean_token_accuracy"), metrics[5].at("eval_mean_token_accuracy"));
}

TEST(SftStage, LearnsTheSameWhetherItMeasuresOrNotAndWhenResumed) {
  SftStageRun silent, measured({"pretrain.evaluation.every=1"}), stopped({"pretrain.evaluation.every=1"});
  EXPECT_EQ(silent.run(), 0);
  EXPECT_FALSE(silent.result()->contains("eval_loss"));
  EXPECT_EQ(measured.run(), 0);
  EXPECT_EQ(stopped.run_until(3), SIGTERM);
  EXPECT_EQ(stopped.run(), 0);
  EXPECT_EQ(measured.weights(), silent.weights());
  EXPECT_EQ(stopped.weights(), silent.weights());
  EXPECT_EQ(stopped.result()->at("eval_loss"), measured.result()->at("eval_loss"));
}

TEST(SftStage, StoppedWhileItMeasuresAtTheEndItMeasuresWhenResumed) {
  SftStageRun whole({"pretrain.evaluation.every=6"}), stopped({"pretrain.evaluation.every=6"});
  EXPECT_EQ(whole.run(), 0);
  int asked = 0;  // once behind each of five steps; the sixth time before the examples are measured
  EXPECT_EQ(stopped.run([&] { return ++asked >= 6 ? SIGTERM : 0; }), SIGTERM);
  EXPECT_EQ(stopped.result(), std::nullopt);
  EXPECT_EQ(stopped.run(), 0);
  EXPECT_EQ(stopped.result()->at("eval_loss"), whole.result()->at("eval_loss"));
  EXPECT_EQ(std::ssize(stopped.metrics()), 6);
}

TEST(SftStage, LearnsOtherwiseWithNoiseAndTheSameWhenResumed) {
  const std::vector<std::string> noise = {"pretrain.batch.neftune_alpha=5"};
  SftStageRun plain, noisy(noise), stopped(noise);
  EXPECT_EQ(plain.run(), 0);
  EXPECT_EQ(noisy.run(), 0);
  EXPECT_EQ(stopped.run_until(3), SIGTERM);
  EXPECT_EQ(stopped.run(), 0);
  EXPECT_NE(noisy.weights(), plain.weights());
  EXPECT_EQ(stopped.weights(), noisy.weights());
}

}  // namespace
}  // namespace sluice::recipes
