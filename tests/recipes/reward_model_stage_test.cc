#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <string>

#include "base/files.h"
#include "base/json_lines.h"
#include "model/model_directory.h"
#include "recipes/inputs.h"
#include "recipes/internal/reward_models.h"
#include "recipes/internal/stage_context.h"
#include "recipes/summary.h"
#include "tests/recipes/recipe_folder.h"
#include "transport/collective.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSteps = 6;
constexpr const char* kRecipe = R"(
model = { hidden_size = 16, layers = 1, heads = 2, intermediate_size = 24 }
tokenizer = { train = "characters" }
monitor = { redis = "off" }
data = { path = "rows.jsonl", test_path = "rows.jsonl", completion_column = "chosen" }
batch = { examples_per_step = 4, max_length = 20 }
optim = { lr = 0.01 }

[[stages]]
use = "sft"
steps = 1

[[stages]]
use = "reward_model"
name = "judge"
steps = 6
checkpoint = { every = 2, keep_last = 1 }

[[stages]]
use = "grpo"
steps = 1
rewards = [{ use = "reward_model", stage = "judge", clip = 3 }]
)";

std::string pairs() {
  std::string lines;
  for (const char* word : {"to", "be", "or", "not", "the", "so"}) {
    lines += Json{{"prompt", word}, {"chosen", " be to be"}, {"rejected", " or not"}}.dump() + "\n";
  }
  return lines + Json{{"prompt", "to"}, {"chosen", " be or not to be the so"}, {"rejected", " or"}}.dump() +
         "\n";
}

// One run of the recipe's second stage.
class RewardModelRun {
 public:
  // Goes on until the end, or until so many steps are reported.
  int run(int64_t until = kSteps) {
    transport::SoloCollective alone;
    const auto stop = [this, until] {
      return until < kSteps && std::ssize(metrics()) >= until + 1 ? SIGTERM : 0;
    };
    return run_reward_model_stage(directory(), recipe_, stage(), stop, alone);
  }
  int cold_start() {
    transport::SoloCollective alone;
    return run_sft_stage(
        directory(), recipe_, recipe_.stage("sft"), [] { return 0; }, alone);
  }

  std::vector<Json> metrics() const {
    std::vector<Json> lines;
    if (!fs::exists(directory().metrics())) return lines;
    for_each_json_line(directory().metrics(), [&](int64_t, Json line) { lines.push_back(std::move(line)); });
    return lines;
  }
  const RunDirectory& directory() const { return run_.directory; }
  const StageSpec& stage() const { return recipe_.stage("judge"); }
  const Recipe& recipe() const { return recipe_; }
  Checkpoint checkpoint(const std::string& name) const {
    return open_checkpoint(directory().checkpoints() / name);
  }

 private:
  Recipe load() const {
    folder_.write(pairs(), "rows.jsonl");
    return folder_.load(kRecipe);
  }

  const RecipeFolder folder_;
  const Recipe recipe_ = load();
  const OpenedRun run_ = open_run(folder_.path() / "runs", recipe_, false);
};

std::string weights_in(const fs::path& directory) { return sha256_file(directory / "model.safetensors"); }

TEST(RewardModelStage, LeavesThePolicyAsItWasAndARewardModelBesideIt) {
  RewardModelRun run;
  ASSERT_EQ(run.cold_start(), 0);
  testing::internal::CaptureStdout();
  ASSERT_EQ(run.run(), 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(),
              testing::HasSubstr("judge: 1 pairs that batch.max_length has no room for are left out"));

  const auto before = run.checkpoint("step_000001"), after = run.checkpoint("step_000007");
  EXPECT_EQ(weights_in(after.model()), weights_in(before.model()));
  EXPECT_TRUE(fs::exists(after.model() / "tokenizer.json"));
  model::check_model(after.model());
  const auto network = model::load_model(after.reward_model(), at::kCPU, {.scalar_head = true});
  EXPECT_EQ(network->parameters().back().name, "score.weight");
  const auto result = run.directory().stage_result("judge").value();
  EXPECT_EQ(result.at("reward_model"), "checkpoints/step_000007/reward_model");
  EXPECT_EQ(result.at("weights_sha256"), network->weights_hash());
  EXPECT_FALSE(fs::exists(run.directory().checkpoints() / "step_000003"));  // keep_last

  const auto& figure = result.at("evals").at(0);
  EXPECT_EQ(figure.at("metric"), "pair_accuracy");
  EXPECT_EQ(figure.at("n"), 6);
  EXPECT_EQ(figure.at("value"), 1.0);  // it was trained on them
  EXPECT_GT(run.metrics().back().at("margin"), run.metrics().at(1).at("margin"));
}

TEST(RewardModelStage, TheNextStageBeginsWithThePolicyAndScoresWithTheModel) {
  RewardModelRun run;
  ASSERT_EQ(run.cold_start(), 0);
  ASSERT_EQ(run.run(), 0);
  const auto& next = run.recipe().stage("grpo");
  const auto start = find_start(run.directory(), run.recipe(), next);
  EXPECT_EQ(start.checkpoint.name(), "step_000007");
  EXPECT_FALSE(start.resumed);
  EXPECT_EQ(weights_in(start.checkpoint.model()), weights_in(run.checkpoint("step_000001").model()));

  const auto found = internal::with_reward_models(run.directory(), next);
  EXPECT_EQ(found.rewards[0].options.at("path"), start.checkpoint.reward_model().string());
  const auto rewards = make_rewards(run.recipe(), found);
  text::Row row;
  row.prompt = "to";
  std::vector<rewards::RewardRequest> group(2);
  for (auto& request : group) request.row = &row;
  group[0].completion = " be to be";
  group[1].completion = " or not";
  const auto outcomes = rewards.score(group);
  EXPECT_GT(*outcomes[0][0].score, *outcomes[1][0].score);
}

TEST(RewardModelStage, StoppedAndResumedItEndsWithTheSameWeights) {
  RewardModelRun whole, stopped;
  for (auto* run : {&whole, &stopped}) ASSERT_EQ(run->cold_start(), 0);
  EXPECT_EQ(whole.run(), 0);
  EXPECT_EQ(stopped.run(/*until=*/3), SIGTERM);
  EXPECT_EQ(std::ssize(stopped.metrics()), 1 + 3);
  EXPECT_EQ(stopped.run(), 0);
  EXPECT_EQ(weights_in(stopped.checkpoint("step_000007").reward_model()),
            weights_in(whole.checkpoint("step_000007").reward_model()));
  EXPECT_EQ(stopped.metrics().back().at("loss"), whole.metrics().back().at("loss"));
}

TEST(RewardModelStage, ItsPairAccuracyIsInTheSummaryBesideTheEvaluations) {
  RewardModelRun run;
  ASSERT_EQ(run.cold_start(), 0);
  ASSERT_EQ(run.run(), 0);
  write_summary(run.directory(), run.recipe(), 1.0);
  EXPECT_EQ(read_json(run.directory().summary()).at("evals").at(0).at("metric"), "pair_accuracy");
  EXPECT_THAT(summary_table(run.directory(), run.recipe()),
              testing::HasSubstr("judge: pair_accuracy 1.000 +- 0.000\n"));
}

TEST(RewardModelStage, IsCheckedBeforeARunIsMadeOfIt) {
  const RewardModelRun run;
  const auto found = check_inputs(run.recipe());
  EXPECT_EQ(found.stages[1].rows, 7);
  EXPECT_EQ(found.stages[1].longest, 3 + 9 + 1);  // "the", " be to be" and the end of sequence
}

std::string with(const std::string& from, const std::string& to) {
  std::string recipe = kRecipe;
  const auto at = recipe.find(from);
  return recipe.replace(at, from.size(), to);
}

TEST(RewardModelStage, RefusesWhatItDoesNotHave) {
  const RecipeFolder folder;
  const auto refusal = [&](const std::string& recipe, const std::vector<std::string>& overrides = {}) {
    return folder.refusal(recipe, overrides);
  };
  EXPECT_THAT(
      refusal(with("stage = \"judge\"", "stage = \"jugde\"")),
      testing::HasSubstr("\"jugde\" is no earlier stage of kind reward_model; did you mean \"judge\"?"));
  EXPECT_THAT(refusal(with("stage = \"judge\"", "stage = \"sft\"")),
              testing::HasSubstr("\"sft\" is no earlier stage of kind reward_model"));
  EXPECT_THAT(refusal(with("stage = \"judge\"", "stage = \"judge\", path = \"a\"")),
              testing::HasSubstr("two reward models"));
  EXPECT_THAT(refusal(kRecipe, {"model.lora.rank=4"}), testing::HasSubstr("a reward model's head is new"));
  EXPECT_THAT(refusal(kRecipe, {"judge.batch.append_eos=false"}),
              testing::HasSubstr("at the end of sequence"));
  EXPECT_THAT(refusal(kRecipe, {"judge.data.use=text"}),
              testing::HasSubstr("\"jsonl\" where pairs are read"));
  EXPECT_EQ(refusal(kRecipe), "");
}

TEST(RewardModelStage, APathOfARewardStartsAtTheRecipesFolder) {
  const RecipeFolder folder;
  const auto recipe = folder.load(with("stage = \"judge\"", "path = \"models/judge\""));
  EXPECT_EQ(recipe.stage("grpo").rewards[0].options.at("path"),
            fs::weakly_canonical(folder.path() / "models/judge").string());
}

}  // namespace
}  // namespace sluice::recipes
