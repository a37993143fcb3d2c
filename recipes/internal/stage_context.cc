#include "recipes/internal/stage_context.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <cstdlib>
#include <iostream>

#include "base/error.h"
#include "base/files.h"
#include "base/philox.h"
#include "base/shared_work.h"
#include "model/model_directory.h"
#include "recipes/inputs.h"
#include "rewards/plugin.h"
#include "text/chat_prompts.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

std::string training_text(const text::DataOptions& data) {
  if (data.use != "text") return {};
  std::string joined;
  for (const auto& row : text::read_examples(data, text::Split::Train)) joined += row.completion;
  return joined;
}

std::unique_ptr<model::Network> make_network(const Recipe& recipe, const text::Tokenizer& tokenizer) {
  const auto config = make_model_config(recipe, tokenizer);
  if (recipe.model.path.empty()) {
    auto network = std::make_unique<model::Network>(config, at::kCPU);
    network->init(recipe.seed);
    return network;
  }
  std::vector<std::string> notices;
  auto network = model::load_model(recipe.model.path, at::kCPU, {.notices = &notices});
  for (const auto& notice : notices) std::cerr << "sluice: " << notice << '\n';
  network->set_eos_ids(config.eos_ids);
  return network;
}

// A stage begins with the end of the training stage before it, or with the model of the recipe.
void check_origin(const Checkpoint& checkpoint, const Recipe& recipe, const StageSpec& stage) {
  std::string before;
  for (const auto& earlier : recipe.stages) {
    if (earlier.name == stage.name) break;
    if (earlier.trains()) before = earlier.name;
  }
  const auto& state = checkpoint.state;
  require<DataError>(state.stage == before && (before.empty() || state.stage_done), "stage ", stage.name,
                     " begins with the end of stage ", before.empty() ? "(none)" : before,
                     ", but the newest whole checkpoint, ", checkpoint.directory.string(), ", is of step ",
                     state.stage_step, " of stage ", state.stage.empty() ? "(none)" : state.stage,
                     "; put the damaged one back, or start a run under another --name");
}

}  // namespace

at::Device device_of(const Recipe& recipe) {
  if (recipe.device == "cpu") return at::kCPU;
  require<EnvironmentError>(at::hasCUDA(),
                            "device = \"cuda\": no usable CUDA device here; `sluice doctor` says more");
  if (recipe.deterministic) compute_the_same_each_time();
  return at::Device(at::kCUDA, 0);
}

void compute_the_same_each_time() {
  // cuBLAS reads it before its first product; who has set it knows why.
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  auto& aten = at::globalContext();
  aten.setDeterministicAlgorithms(true, /*warn_only=*/false);  // flash attention's backward asks for it too
  aten.setDeterministicFillUninitializedMemory(false);         // else all memory is filled for nothing
}

void use_threads(int threads) {
  set_work_threads(threads);
  at::set_num_threads(1);
  at::set_num_interop_threads(1);
}

uint64_t stage_seed(const Recipe& recipe, const std::string& stage) {
  uint64_t index = 0;
  while (recipe.stages[index].name != stage) ++index;
  return random_bits(recipe.seed, RandomUse::Data, index, 0);
}

rewards::RewardMix make_rewards(const Recipe& recipe, const StageSpec& stage) {
  return rewards::RewardMix(stage.rewards,
                            {.training_text = training_text(stage.data), .device = recipe.device});
}

rewards::Toolbox make_tools(const StageSpec& stage) { return rewards::Toolbox(stage.tools); }

rewards::Canaries make_canaries(const StageSpec& stage) {
  if (stage.guard.canaries.empty()) return {};
  std::vector<std::string> names;
  for (const auto& reward : stage.rewards) names.push_back(reward.name);
  return rewards::Canaries(stage.guard.canaries, stage.guard.canaries_every, names);
}

std::unique_ptr<model::Network> load_network(const fs::path& directory, const Recipe& recipe) {
  auto network = model::load_model(directory, device_of(recipe));
  network->round_products(recipe.model.rounding);
  return network;
}

std::unique_ptr<model::Network> network_with(const model::Network& shape, const at::Tensor& flat,
                                             const Recipe& recipe) {
  const at::NoGradGuard no_grad;
  auto network = std::make_unique<model::Network>(shape.config(), shape.device());
  network->round_products(recipe.model.rounding);
  network->flat().copy_(flat);
  return network;
}

buffers::LedgerOptions ledger_options(const Recipe& recipe, const StageSpec& stage) {
  return {.prompts_per_step = stage.rollout.prompts_per_step,
          .total_steps = stage.steps,
          .staleness = stage.rollout.staleness,
          .exact_versions = recipe.deterministic,
          .lease_ms = stage.rollout.lease_ms,
          .refills = stage.rollout.refills};
}

std::unique_ptr<text::Rows> open_prompts(const StageSpec& stage, const fs::path& model) {
  auto chat = text::load_chat_template(model);
  Json tools = chat ? make_tools(stage).descriptions() : Json();
  return text::rendered(text::open_prompts(stage.data, stage.split()), std::move(chat), std::move(tools));
}

actors::ToolUseOptions tool_use_options(const StageSpec& stage, const fs::path& model) {
  const auto chat = text::load_chat_template(model);
  return {.form = text::observation_form(chat ? &*chat : nullptr),
          .max_calls = stage.rollout.tool_calls,
          .max_observation_tokens = stage.rollout.tool_tokens};
}

transport::Identity stage_identity(const RunDirectory& run, const std::string& stage, const fs::path& model,
                                   const text::Tokenizer& tokenizer, const model::ModelConfig& config) {
  const auto chat = text::load_chat_template(model);
  const Recipe recipe = run.recipe();
  Json rewards_said = Json::array();
  for (const auto& reward : recipe.stage(stage).rewards) {
    const auto file = rewards::plugin_file(reward);
    const bool is_there = !file.empty() && fs::is_regular_file(file);
    rewards_said.push_back(
        {reward.use, reward.name, reward.weight, reward.options, is_there ? sha256_file(file) : ""});
  }
  for (const auto& tool : recipe.stage(stage).tools)
    rewards_said.push_back({tool.use, tool.name, tool.options});
  return {.run = run.id(),
          .tokenizer_hash = tokenizer.hash(),
          .model_hash = sha256_hex(model::model_config_to_json(config, "").dump()),
          .template_hash = chat ? chat->hash() : "",
          .rewards_hash = sha256_hex(rewards_said.dump())};
}

Checkpoint make_initial_checkpoint(const RunDirectory& run, const Recipe& recipe) {
  const auto tokenizer = make_tokenizer(recipe);
  const auto network = make_network(recipe, *tokenizer);
  return write_checkpoint(run.checkpoints(), {}, {.network = *network, .tokenizer = *tokenizer}, {});
}

CheckpointState StageStart::state_after(const StageSpec& stage, int64_t done, double seconds,
                                        double num_tokens, std::optional<double> score) const {
  return {.step = first_step() + done,
          .stage = stage.name,
          .stage_step = done,
          .stage_done = done == stage.steps,
          .started_from = started_from,
          .stage_seconds = seconds,
          .num_tokens = num_tokens,
          .score = score};
}

StageStart find_start(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage) {
  remove_temporaries(run.checkpoints());
  std::vector<std::string> damaged;
  const auto found = latest_checkpoint(run.checkpoints(), &damaged);
  for (const auto& problem : damaged)
    std::cerr << "sluice: damaged checkpoint left alone: " << problem << '\n';
  const Checkpoint checkpoint = found ? *found : make_initial_checkpoint(run, recipe);
  point_at(run.checkpoints() / "latest", checkpoint.directory);
  if (checkpoint.state.stage != stage.name) check_origin(checkpoint, recipe, stage);
  return start_from(checkpoint, stage);
}

StageStart start_from(const Checkpoint& checkpoint, const StageSpec& stage) {
  const CheckpointState& state = checkpoint.state;
  if (state.stage != stage.name) return {.checkpoint = checkpoint, .started_from = checkpoint.name()};
  return {.checkpoint = checkpoint,
          .resumed = true,
          .stage_step = state.stage_step,
          .seconds = state.stage_seconds,
          .num_tokens = state.num_tokens,
          .started_from = state.started_from,
          .memory = load_memory(checkpoint)};
}

Checkpoint find_origin(const RunDirectory& run, const StageSpec& stage, const StageStart& start) {
  const fs::path directory = run.checkpoints() / start.started_from;
  const std::string damage = check_directory(directory);
  require<DataError>(damage.empty(), stage.name, ": what the stage began with, ", directory.string(),
                     ", is damaged: ", damage);
  return open_checkpoint(directory);
}

std::unique_ptr<model::Network> load_trained(const RunDirectory& run, const Recipe& recipe,
                                             const StageSpec& stage, const StageStart& start) {
  const auto& lora = recipe.model.lora;
  const bool goes_on = lora && start.resumed;
  const Checkpoint weights = goes_on ? find_origin(run, stage, start) : start.checkpoint;
  auto network = load_network(weights.model(), recipe);
  if (goes_on) {
    model::load_adapter(start.checkpoint.adapter(), *network);
  } else if (lora) {
    network->add_adapter(*lora, stage_seed(recipe, stage.name));
  }
  network->checkpoint_blocks(stage.batch.gradient_checkpointing);
  return network;
}

}  // namespace sluice::recipes
