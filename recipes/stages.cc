#include "recipes/stages.h"

#include <unistd.h>

#include <chrono>
#include <optional>
#include <thread>

#include "actors/rollout_actor.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file_lock.h"
#include "base/files.h"
#include "base/philox.h"
#include "base/pulse.h"
#include "model/model_directory.h"
#include "recipes/internal/out_of_memory.h"
#include "recipes/internal/rank_spec.h"
#include "recipes/internal/reward_models.h"
#include "recipes/internal/stage_context.h"

namespace sluice::recipes {
namespace {

struct StageRunner {
  StageRole role;
  int (*run)(const RunDirectory&, const Recipe&, const StageSpec&, const StopRequest&,
             transport::Collective&);
};
constexpr StageRunner kRunners[] = {
    {StageRole::Supervised, run_sft_stage},           {StageRole::Preference, run_preference_stage},
    {StageRole::RewardModel, run_reward_model_stage}, {StageRole::Policy, run_policy_stage},
    {StageRole::Sampling, run_rejection_stage},       {StageRole::Evaluation, run_evaluation_stage}};

constexpr Millis kOriginTimeoutMs = 60'000;
constexpr Millis kOriginPauseMs = 50;
constexpr Millis kLoadLimitMs = 600'000;  // a large model from a slow disk
constexpr Millis kSpoolLockMs = 3'000;    // for a process that was killed a moment ago

// Differs each time a process starts.
uint64_t new_incarnation() {
  return random_bits(static_cast<uint64_t>(wall_seconds() * 1e6), RandomUse::Data,
                     static_cast<uint64_t>(getpid()), 0);
}

// The checkpoint the stage began with: architecture and tokenizer are the same in all that follow. The
// learner makes the first one of a run, so an actor may have to wait for it.
std::optional<Checkpoint> wait_for_origin(const RunDirectory& run, const std::string& stage,
                                          const StopRequest& stop) {
  const SteadyClock clock;
  const Millis until = clock.now_ms() + kOriginTimeoutMs;
  now_doing("actor: waits for the first checkpoint");
  while (stop() == 0) {
    if (auto found = latest_checkpoint_before(run.checkpoints(), stage)) return found;
    require(clock.now_ms() < until, "actor: waited ", kOriginTimeoutMs / 1000,
            " s for the first checkpoint in ", run.checkpoints().string());
    std::this_thread::sleep_for(std::chrono::milliseconds(kOriginPauseMs));
  }
  return std::nullopt;
}

std::unique_ptr<actors::Drafter> make_drafter(const StageSpec& stage, const model::Network* network,
                                              const actors::EngineOptions& engine) {
  if (network != nullptr) return actors::make_model_drafter(*network, engine.threads);
  return stage.rollout.draft == "prompt" ? actors::make_lookup_drafter() : nullptr;
}

int serve_rollouts(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage, int64_t index,
                   const StopRequest& stop) {
  const auto origin = wait_for_origin(run, stage.name, stop);
  if (!origin) return stop();
  now_doing("actor: loads its model", kLoadLimitMs);
  const auto tokenizer = text::load_tokenizer(origin->model());
  const auto network = load_network(origin->model(), recipe);
  const auto rewards = make_rewards(recipe, stage);
  const auto tools = make_tools(stage);
  const auto spool = run.spool(stage.name, index);
  std::filesystem::create_directories(spool.parent_path());
  sync_directory(spool.parent_path().parent_path());
  sync_directory(run.root());
  const auto alone = FileLock::acquire(spool.string() + ".lock", kSpoolLockMs);
  require<EnvironmentError>(alone.has_value(), "actor-", index, " of stage ", stage.name,
                            " is there already: another process has ", spool.string(),
                            "; give this one another --index");
  auto identity = stage_identity(run, stage.name, origin->model(), *tokenizer, network->config());
  identity.role = "actor";
  identity.name = "actor-" + std::to_string(index);
  identity.incarnation = new_incarnation();
  identity.pid = getpid();
  const actors::RolloutActorOptions options{.address = run.rollout_address(stage),
                                            .identity = identity,
                                            .engine = {.reproducible = recipe.deterministic},
                                            .spool = spool,
                                            .int8_weights = stage.rollout.int8_weights,
                                            .mix_versions = stage.rollout.mix_versions,
                                            .tools = tools.empty() ? nullptr : &tools,
                                            .tool_use = tool_use_options(stage, origin->model()),
                                            .canaries = make_canaries(stage),
                                            .min_scored = stage.rollout.min_scored};
  std::unique_ptr<model::Network> draft_network;
  if (stage.rollout.draft == "model") {
    draft_network = model::load_model(stage.rollout.draft_model, device_of(recipe));
    draft_network->freeze();
  }
  actors::run_rollout_actor(
      *network, *tokenizer, rewards, options, [&stop] { return stop() != 0; },
      make_drafter(stage, draft_network.get(), options.engine));
  return stop();
}

}  // namespace

int run_stage(const RunDirectory& run, const std::string& name, const StopRequest& stop,
              const transport::RankOptions& rank) {
  const Recipe recipe = run.recipe();
  const StageSpec stage = internal::with_reward_models(run, recipe.stage(name));
  now_doing(name + ": loads its model", kLoadLimitMs);
  auto options = rank;
  if (options.size == 0) options.size = stage.ranks.count;
  if (options.timeout_ms == 0) options.timeout_ms = stage.ranks.timeout_ms;
  internal::check_ranks(stage, options.size);
  use_threads(internal::threads_of_rank(stage, options.size));
  const auto ranks = transport::join_ranks(options, device_of(recipe));
  for (const auto& runner : kRunners) {
    if (stage.role != runner.role) continue;
    return internal::with_memory_advice(internal::stage_memory_advice(stage, recipe.model.lora.has_value()),
                                        [&] { return runner.run(run, recipe, stage, stop, *ranks); });
  }
  fail("stage ", name, ": nothing runs a stage of kind ", stage.use);
}

int run_actor(const RunDirectory& run, const std::string& name, int64_t index, const StopRequest& stop) {
  use_threads(1);
  const Recipe recipe = run.recipe();
  const StageSpec stage = internal::with_reward_models(run, recipe.stage(name));
  return internal::with_memory_advice(internal::actor_memory_advice(stage),
                                      [&] { return serve_rollouts(run, recipe, stage, index, stop); });
}

}  // namespace sluice::recipes
