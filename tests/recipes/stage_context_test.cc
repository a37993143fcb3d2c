#include "recipes/internal/stage_context.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "tests/recipes/recipe_folder.h"
#include "tests/tiny_network.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct FindStart : testing::Test {
  void write(int64_t step, const std::string& stage, int64_t stage_step, bool done) {
    write(step, stage, stage_step, done, *network_, "");
  }
  void write(int64_t step, const std::string& stage, int64_t stage_step, bool done,
             const model::Network& network, const std::string& started_from) {
    write_checkpoint(run_.directory.checkpoints(),
                     {.step = step,
                      .stage = stage,
                      .stage_step = stage_step,
                      .stage_done = done,
                      .started_from = started_from},
                     {.network = network, .tokenizer = *tokenizer_}, {});
  }
  fs::path weights(const std::string& checkpoint) const {
    return run_.directory.checkpoints() / checkpoint / "hf" / "model.safetensors";
  }

  Recipe load(std::vector<std::string> overrides) const {
    for (const char* common : {"data={use=\"text\", path=\"corpus.txt\"}", "tokenizer.train=characters",
                               "rewards=[{use=\"real_words\"}]"}) {
      overrides.push_back(common);
    }
    return folder_.load("[[stages]]\nuse = \"sft\"\nsteps = 4\n[[stages]]\nuse = \"grpo\"\nsteps = 4\n",
                        overrides);
  }
  std::unique_ptr<model::Network> trained(const Recipe& recipe, const std::string& stage) const {
    return load_trained(run_.directory, recipe, recipe.stage(stage),
                        find_start(run_.directory, recipe, recipe.stage(stage)));
  }

  RecipeFolder folder_;
  const Recipe recipe_ = load({});
  const OpenedRun run_ = open_run(folder_.path() / "runs", recipe_, false);
  std::unique_ptr<text::Tokenizer> tokenizer_ = text::train_character_tokenizer("to be or not to be\n");
  std::unique_ptr<model::Network> network_ = tiny_network();
};

// The GPU's half of it is ATen's own; here, that it is asked, and by the names that it goes by.
TEST(Device, AskedForTheSameBitsTakesNoAlgorithmThatGivesOthers) {
  auto& aten = at::globalContext();
  ASSERT_FALSE(aten.deterministicAlgorithms());
  compute_the_same_each_time();
  EXPECT_TRUE(aten.deterministicAlgorithms());
  EXPECT_FALSE(aten.deterministicAlgorithmsWarnOnly());
  EXPECT_FALSE(aten.deterministicFillUninitializedMemory());
  EXPECT_STREQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), ":4096:8");
  aten.setDeterministicAlgorithms(false, /*warn_only=*/false);
  aten.setDeterministicFillUninitializedMemory(true);
}

TEST(StageIdentity, IsAnotherWhenThePlugInsFileIs) {
  const RecipeFolder folder;
  const auto recipe = folder.load(
      "data = { use = \"text\", path = \"corpus.txt\" }\ntokenizer = { train = \"characters\" }\n"
      "rewards = [{ python = \"my.py:reward\" }]\n\n[[stages]]\nuse = \"grpo\"\nsteps = 4\n");
  const auto run = open_run(folder.path() / "runs", recipe, false);
  const auto tokenizer = text::train_character_tokenizer("to be\n");
  const auto network = tiny_network();
  const auto hash_with = [&](const std::string& code) {
    folder.write(code, "my.py");
    return stage_identity(run.directory, "grpo", folder.path(), *tokenizer, network->config()).rewards_hash;
  };
  const auto hash = hash_with("def reward(completions, **_): return [1.0 for _ in completions]\n");
  EXPECT_NE(hash_with("def reward(completions, **_): return [0.0 for _ in completions]\n"), hash);
  EXPECT_EQ(hash_with("def reward(completions, **_): return [1.0 for _ in completions]\n"), hash);
}

TEST_F(FindStart, BeginsWithTheEndOfTheStageBefore) {
  write(2, "sft", 2, false);
  write(4, "sft", 4, true);
  const auto start = find_start(run_.directory, recipe_, recipe_.stage("grpo"));
  EXPECT_FALSE(start.resumed);
  EXPECT_EQ(start.started_from, "step_000004");
}

TEST_F(FindStart, GoesOnFromTheNewestOfItsOwn) {
  write(4, "sft", 4, true);
  write(6, "grpo", 2, false);
  const auto start = find_start(run_.directory, recipe_, recipe_.stage("grpo"));
  EXPECT_TRUE(start.resumed);
  EXPECT_EQ(start.stage_step, 2);
}

// It used to begin with step 2 and say nothing.
TEST_F(FindStart, RefusesToBeginWithAnUnfinishedStageWhereTheEndIsDamaged) {
  write(2, "sft", 2, false);
  write(4, "sft", 4, true);
  fs::resize_file(weights("step_000004"), 100);
  try {
    find_start(run_.directory, recipe_, recipe_.stage("grpo"));
    FAIL() << "it began with an unfinished stage";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("begins with the end of stage sft"));
    EXPECT_THAT(error.what(), HasSubstr("step_000002"));
  }
}

TEST_F(FindStart, PutsRightALinkThatACrashLeftBehind) {
  write(2, "sft", 2, false);
  write(4, "sft", 4, true);
  const auto link = run_.directory.checkpoints() / "latest";
  fs::remove(link);
  fs::create_symlink("step_000002", link);
  find_start(run_.directory, recipe_, recipe_.stage("grpo"));
  EXPECT_EQ(fs::read_symlink(link), "step_000004");
}

TEST_F(FindStart, WithoutAdaptersTrainsTheWeightsOfTheCheckpoint) {
  write(4, "sft", 4, true);
  const auto network = trained(recipe_, "grpo");
  EXPECT_FALSE(network->lora().has_value());
  EXPECT_EQ(network->weights_hash(), network_->weights_hash());
}

TEST_F(FindStart, AdaptersBeginAnewInEachStageAndGoOnBesideTheSameWeights) {
  const Recipe recipe = load({"model.lora.rank=2"});
  write(0, "", 0, false);
  auto network = trained(recipe, "sft");
  ASSERT_TRUE(network->lora().has_value());
  EXPECT_EQ(network->weights_hash(), network_->weights_hash());
  const auto first = network->trained().flat().clone();
  network->trained().flat().add_(0.01);  // as training does
  write(2, "sft", 2, false, *network, "step_000000");

  const auto resumed = trained(recipe, "sft");
  EXPECT_TRUE(at::equal(resumed->flat(), network_->flat()));
  EXPECT_TRUE(at::equal(resumed->trained().flat(), network->trained().flat()));

  write(4, "sft", 4, true, *network, "step_000000");
  const auto next = trained(recipe, "grpo");
  EXPECT_TRUE(at::equal(next->flat(), network->merged_flat()));
  EXPECT_TRUE(at::equal(next->merged_flat(), next->flat()));
  EXPECT_FALSE(at::equal(next->trained().flat(), first));  // numbers of its own
}

TEST_F(FindStart, SaysWhenTheWeightsBesideTheAdaptersAreDamaged) {
  const Recipe recipe = load({"model.lora.rank=2"});
  write(0, "", 0, false);
  write(2, "sft", 2, false, *trained(recipe, "sft"), "step_000000");
  fs::resize_file(weights("step_000000"), 100);
  EXPECT_THAT(message_of<DataError>([&] { trained(recipe, "sft"); }),
              testing::AllOf(HasSubstr("step_000000"), HasSubstr("is damaged")));
}

}  // namespace
}  // namespace sluice::recipes
