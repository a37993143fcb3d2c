#include "recipes/checkpoint.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "model/model_directory.h"
#include "model/scalar_head.h"
#include "tests/base/temp_folder.h"
#include "tests/tiny_network.h"
#include "transport/collective.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

struct CheckpointTest : testing::Test {
  // A checkpoint of stage `stage` after `step` steps.
  Checkpoint write(int64_t step, const std::string& stage, bool done = false, int64_t keep_last = 2) {
    return write_checkpoint(
        folder_.path(),
        {.step = step, .stage = stage, .stage_step = step, .stage_done = done, .started_from = "step_000000"},
        {.network = *network_, .tokenizer = *tokenizer_, .optimizer = &optimizer_}, {.keep_last = keep_last});
  }

  // The names that are there, links and leftovers too.
  std::vector<std::string> names() const {
    std::vector<std::string> list;
    for (const auto& entry : fs::directory_iterator(folder_.path())) list.push_back(entry.path().filename());
    std::sort(list.begin(), list.end());
    return list;
  }

  // One update whose gradient is `value` everywhere.
  void update(double value) {
    optimizer_.zero_grad();
    for (const auto& parameter : network_->parameters()) parameter.tensor.grad().fill_(value);
    optimizer_.step();
  }

  TempFolder folder_;
  std::unique_ptr<text::Tokenizer> tokenizer_ = text::train_character_tokenizer("to be or not to be\n");
  std::unique_ptr<model::Network> network_ = tiny_network();
  transport::SoloCollective collective_;
  optim::Optimizer optimizer_{*network_, collective_, {.lr = 0.01, .schedule = {}}, /*total_steps=*/10};
};

TEST_F(CheckpointTest, BringsBackModelOptimizerAndOlderVersions) {
  update(0.5);
  const std::map<int64_t, at::Tensor> versions{{3, at::full({4}, 0.25f)}, {12, at::full({4}, 0.75f)}};
  const CheckpointState state{.step = 13,
                              .stage = "grpo",
                              .stage_step = 5,
                              .stage_done = false,
                              .started_from = "step_000008",
                              .stage_seconds = 1.5,
                              .num_tokens = 640,
                              .score = 0.75};
  write_checkpoint(
      folder_.path(), state,
      {.network = *network_, .tokenizer = *tokenizer_, .optimizer = &optimizer_, .versions = &versions},
      {.keep_last = 2});

  const auto found = latest_checkpoint(folder_.path());
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->name(), "step_000013");
  EXPECT_EQ(found->state.step, 13);
  EXPECT_EQ(found->state.stage, "grpo");
  EXPECT_EQ(found->state.stage_step, 5);
  EXPECT_FALSE(found->state.stage_done);
  EXPECT_EQ(found->state.started_from, "step_000008");
  EXPECT_EQ(found->state.stage_seconds, 1.5);
  EXPECT_EQ(found->state.num_tokens, 640);
  EXPECT_EQ(found->state.score, 0.75);

  EXPECT_EQ(text::load_tokenizer(found->model())->hash(), tokenizer_->hash());
  const auto network = model::load_model(found->model(), at::kCPU);
  EXPECT_EQ(network->weights_hash(), network_->weights_hash());
  const auto older = load_versions(*found);
  ASSERT_EQ(older.size(), 2u);
  EXPECT_TRUE(at::equal(older.at(3), versions.at(3)));
  EXPECT_TRUE(at::equal(older.at(12), versions.at(12)));

  // One further update ends in the same bits with the optimizer that was loaded.
  optim::Optimizer optimizer(*network, collective_, {.lr = 0.01, .schedule = {}}, 10);
  load_optimizer(*found, optimizer);
  optimizer.zero_grad();
  for (const auto& parameter : network->parameters()) parameter.tensor.grad().fill_(-0.25);
  optimizer.step();
  update(-0.25);
  EXPECT_EQ(network->weights_hash(), network_->weights_hash());
}

TEST_F(CheckpointTest, BringsBackAReferenceThatHasMoved) {
  const auto flat = at::full({4}, 0.25f);
  const auto moved =
      write_checkpoint(folder_.path(), {.step = 1, .stage = "grpo"},
                       {.network = *network_, .tokenizer = *tokenizer_, .reference = flat}, {.keep_last = 1});
  EXPECT_TRUE(at::equal(load_reference(moved), flat));
  EXPECT_FALSE(load_reference(write(2, "grpo")).defined());
}

TEST_F(CheckpointTest, BringsBackWhatTheStageCarries) {
  const Json memory = {{"guard", {{"skipped", 2}}}, {"value", 1.0 / 3.0}};
  const auto with = write_checkpoint(
      folder_.path(), {.step = 1},
      {.network = *network_, .tokenizer = *tokenizer_, .optimizer = &optimizer_, .memory = memory},
      {.keep_last = 9});
  const auto without = write_checkpoint(
      folder_.path(), {.step = 2}, {.network = *network_, .tokenizer = *tokenizer_, .optimizer = &optimizer_},
      {.keep_last = 9});

  EXPECT_EQ(load_memory(with), memory);
  EXPECT_EQ(load_memory(without), std::nullopt);
}

TEST_F(CheckpointTest, HoldsNoWeightThatIsNotFinite) {
  {
    const at::NoGradGuard no_grad;
    network_->flat()[7] = NAN;
  }
  const auto message = message_of<HealthError>([&] {
    write_checkpoint(folder_.path(), {.step = 3},
                     {.network = *network_, .tokenizer = *tokenizer_, .optimizer = &optimizer_},
                     {.keep_last = 2});
  });
  EXPECT_THAT(message, HasSubstr("checkpoint of step 3: a weight is not finite"));
  EXPECT_FALSE(latest_checkpoint(folder_.path()).has_value());
}

TEST_F(CheckpointTest, TheInitialOneHasNoOptimizerAndNoVersions) {
  const auto checkpoint = write_checkpoint(
      folder_.path(), {}, {.network = *network_, .tokenizer = *tokenizer_}, {.keep_last = 1});
  EXPECT_EQ(checkpoint.name(), "step_000000");
  EXPECT_TRUE(load_versions(checkpoint).empty());
  EXPECT_THROW(load_optimizer(checkpoint, optimizer_), DataError);
}

TEST_F(CheckpointTest, HoldsACriticAndItsOptimizerBesideThePolicys) {
  const auto critic = model::with_scalar_head(*network_, /*seed=*/1);
  optim::Optimizer optimizer(*critic, collective_, {.lr = 0.01, .schedule = {}}, 10);
  const auto move = [this](const model::Network& network, optim::Optimizer& own) {
    own.zero_grad();
    for (const auto& parameter : network.parameters()) parameter.tensor.grad().fill_(0.5);
    own.step();
  };
  move(*critic, optimizer);
  const auto checkpoint = write_checkpoint(folder_.path(), {.step = 2, .stage = "ppo"},
                                           {.network = *network_,
                                            .tokenizer = *tokenizer_,
                                            .optimizer = &optimizer_,
                                            .critic = critic.get(),
                                            .critic_optimizer = &optimizer},
                                           {.keep_last = 1});

  const auto back = model::load_model(checkpoint.critic(), at::kCPU, {.scalar_head = true});
  EXPECT_EQ(back->weights_hash(), critic->weights_hash());
  EXPECT_TRUE(back->config().scalar_head);
  optim::Optimizer again(*back, collective_, {.lr = 0.01, .schedule = {}}, 10);
  load_critic_optimizer(checkpoint, again);
  move(*critic, optimizer);
  move(*back, again);
  EXPECT_EQ(back->weights_hash(), critic->weights_hash());
}

TEST_F(CheckpointTest, OfANetworkWithAdaptersHasThemMergedInAndBesideIt) {
  network_->add_adapter({.rank = 2}, /*seed=*/1);
  network_->trained().flat().add_(0.5);
  optim::Optimizer optimizer(*network_, collective_, {.lr = 0.01, .schedule = {}}, 10);
  const auto checkpoint = write_checkpoint(
      folder_.path(), {.step = 3, .stage = "sft", .started_from = "step_000001"},
      {.network = *network_, .tokenizer = *tokenizer_, .optimizer = &optimizer}, {.keep_last = 1});

  const auto merged = model::load_model(checkpoint.model(), at::kCPU);
  EXPECT_TRUE(at::equal(merged->flat(), network_->merged_flat()));
  const auto other = tiny_network();
  model::load_adapter(checkpoint.adapter(), *other);
  EXPECT_TRUE(at::equal(other->trained().flat(), network_->trained().flat()));
  const Json config = read_json(checkpoint.adapter() / "adapter_config.json");
  EXPECT_EQ(config.at("base_model_name_or_path"), (folder_ / "step_000001" / "hf").string());
}

TEST_F(CheckpointTest, SkipsADamagedOneAndNamesIt) {
  write(1, "sft");
  const auto newest = write(2, "sft");
  fs::resize_file(newest.model() / "model.safetensors", 100);

  std::vector<std::string> damaged;
  const auto found = latest_checkpoint(folder_.path(), &damaged);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->name(), "step_000001");
  ASSERT_EQ(damaged.size(), 1u);
  EXPECT_THAT(damaged[0], HasSubstr(newest.directory.string() + ": "));
  EXPECT_THAT(damaged[0], HasSubstr("model.safetensors"));
  EXPECT_TRUE(fs::exists(newest.directory));
}

TEST_F(CheckpointTest, FindsNothingWhereNoneIsWhole) {
  EXPECT_EQ(latest_checkpoint(folder_.path() / "none"), std::nullopt);
  fs::create_directories(folder_.path() / "step_000007");
  std::vector<std::string> damaged;
  EXPECT_EQ(latest_checkpoint(folder_.path(), &damaged), std::nullopt);
  EXPECT_EQ(damaged.size(), 1u);
}

TEST_F(CheckpointTest, KeepsTheLastOnesAndEveryEndOfAStage) {
  for (const int64_t step : {1, 2, 3}) write(step, "sft");
  EXPECT_THAT(names(), ElementsAre("latest", "step_000002", "step_000003"));
  write(4, "sft", /*done=*/true);
  for (const int64_t step : {5, 6, 7}) write(step, "grpo", false, /*keep_last=*/1);
  EXPECT_THAT(names(), ElementsAre("latest", "step_000002", "step_000003", "step_000004", "step_000007"));
}

TEST_F(CheckpointTest, KeepsThoseOfRoundStepsBesides) {
  for (int64_t step = 1; step <= 7; ++step) {
    write_checkpoint(folder_.path(), {.step = 10 + step, .stage = "grpo", .stage_step = step},
                     {.network = *network_, .tokenizer = *tokenizer_}, {.keep_last = 1, .keep_every = 3});
  }
  EXPECT_THAT(names(), ElementsAre("latest", "step_000013", "step_000016", "step_000017"));
}

TEST_F(CheckpointTest, KeepsTheBestBesidesAndLetsALinkNameIt) {
  const auto write_scored = [this](int64_t step, std::optional<double> score, bool lowest) {
    write_checkpoint(folder_.path(), {.step = step, .stage = "grpo", .stage_step = step, .score = score},
                     {.network = *network_, .tokenizer = *tokenizer_},
                     {.keep_last = 1, .best_by = "reward", .lowest = lowest});
  };
  write_scored(1, 0.25, false);
  write_scored(2, 0.5, false);
  write_scored(3, std::nullopt, false);
  write_scored(4, 0.375, false);
  EXPECT_THAT(names(), ElementsAre("best", "latest", "step_000002", "step_000004"));
  EXPECT_EQ(fs::read_symlink(folder_.path() / "best"), "step_000002");
  write_scored(5, 0.5, false);  // as good, and newer
  EXPECT_THAT(names(), ElementsAre("best", "latest", "step_000005"));
  write_scored(6, 0.25, true);
  EXPECT_EQ(fs::read_symlink(folder_.path() / "best"), "step_000006");
}

TEST_F(CheckpointTest, LatestIsARelativeLinkToTheNewest) {
  write(1, "sft");
  write(2, "sft");
  EXPECT_EQ(fs::read_symlink(folder_.path() / "latest"), "step_000002");
  EXPECT_TRUE(fs::exists(folder_.path() / "latest" / "hf" / "config.json"));
}

TEST_F(CheckpointTest, AWholeStepThatIsThereAlreadyIsLeftAsItIs) {
  const auto before = write(1, "sft");
  const auto hash = sha256_file(before.model() / "model.safetensors");
  update(0.5);
  const auto after = write(1, "sft");
  EXPECT_EQ(sha256_file(after.model() / "model.safetensors"), hash);
}

TEST_F(CheckpointTest, ADamagedStepThatIsThereAlreadyIsMadeAgain) {
  fs::resize_file(write(1, "sft").model() / "model.safetensors", 100);
  const auto again = write(1, "sft");
  EXPECT_EQ(check_directory(again.directory), "");
}

TEST_F(CheckpointTest, WhatCannotBeReadCountsForNothingWhenOldOnesAreRemoved) {
  write(1, "sft");
  write_plain(write(2, "sft").directory / "state" / "state.json", "torn");
  write_plain(write(9, "sft").directory / "state" / "state.json", "torn");
  write(3, "sft", /*done=*/false, /*keep_last=*/1);
  EXPECT_THAT(names(), ElementsAre("latest", "step_000002", "step_000003", "step_000009"));
}

TEST_F(CheckpointTest, ALinkThatACrashLeftBehindIsPutRight) {
  write(1, "sft");
  const auto newest = write(2, "sft");
  replace_symlink(folder_.path() / "latest", "step_000001");
  point_at(folder_.path() / "latest", newest.directory);
  EXPECT_EQ(fs::read_symlink(folder_.path() / "latest"), "step_000002");
}

TEST_F(CheckpointTest, NewestIsTheHighestStepAndNotTheLastName) {
  write(999'999, "sft");
  write(1'000'000, "sft");
  EXPECT_EQ(latest_checkpoint(folder_.path())->state.step, 1'000'000);
}

TEST_F(CheckpointTest, KnowsWhatAStageBeganWith) {
  EXPECT_EQ(latest_checkpoint_before(folder_.path(), "grpo"), std::nullopt);
  write(2, "sft", /*done=*/true);
  write(3, "grpo");
  fs::remove(write(4, "grpo").directory / "manifest.json");
  EXPECT_EQ(latest_checkpoint_before(folder_.path(), "grpo")->name(), "step_000002");
  EXPECT_EQ(latest_checkpoint_before(folder_.path(), "sft")->name(), "step_000003");
}

TEST_F(CheckpointTest, RefusesAStateOfAnotherSchema) {
  const auto checkpoint = write(1, "sft");
  write_plain(checkpoint.directory / "state" / "state.json", R"({"schema": 99})");
  EXPECT_THAT(message_of<DataError>([&] { open_checkpoint(checkpoint.directory); }), HasSubstr("schema 99"));
}

}  // namespace
}  // namespace sluice::recipes
