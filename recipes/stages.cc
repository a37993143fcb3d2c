#include "recipes/stages.h"

#include <unistd.h>

#include "actors/rollout_actor.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/philox.h"
#include "model/model_directory.h"
#include "recipes/internal/stage_context.h"

namespace sluice::recipes {
namespace {

struct StageRunner {
  const char* use;
  int (*run)(const RunDirectory&, const Recipe&, const StageSpec&, const StopRequest&);
};
constexpr StageRunner kRunners[] = {
    {"sft", run_sft_stage}, {"grpo", run_policy_stage}, {"eval", run_evaluation_stage}};

// Differs each time a process starts.
uint64_t new_incarnation() {
  return random_bits(static_cast<uint64_t>(wall_seconds() * 1e6), RandomUse::Data,
                     static_cast<uint64_t>(getpid()), 0);
}

}  // namespace

int run_stage(const RunDirectory& run, const std::string& name, const StopRequest& stop) {
  use_one_thread();
  const Recipe recipe = run.recipe();
  const StageSpec& stage = recipe.stage(name);
  for (const auto& runner : kRunners) {
    if (stage.use == runner.use) return runner.run(run, recipe, stage, stop);
  }
  fail("stage ", name, ": nothing runs a stage of kind ", stage.use);
}

int run_actor(const RunDirectory& run, const std::string& name, int64_t index, const StopRequest& stop) {
  use_one_thread();
  const Recipe recipe = run.recipe();
  const StageSpec& stage = recipe.stage(name);
  const Checkpoint checkpoint = newest_checkpoint(run, recipe);
  const auto tokenizer = text::load_tokenizer(checkpoint.model());
  const auto network = model::load_model(checkpoint.model(), device_of(recipe));
  const auto rewards = make_rewards(stage);
  const actors::RolloutActorOptions options{.address = run.rollout_address(stage),
                                            .identity = {.run = run.id(),
                                                         .tokenizer_hash = tokenizer->hash(),
                                                         .model_hash = architecture_hash(network->config()),
                                                         .role = "actor",
                                                         .name = "actor-" + std::to_string(index),
                                                         .incarnation = new_incarnation(),
                                                         .pid = getpid()},
                                            .engine = {.one_group_at_a_time = recipe.deterministic}};
  actors::run_rollout_actor(*network, *tokenizer, rewards, options, [&stop] { return stop() != 0; });
  return stop();
}

}  // namespace sluice::recipes
