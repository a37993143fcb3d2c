#include "recipes/internal/stage_critic.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "model/model_directory.h"
#include "model/scalar_head.h"

namespace sluice::recipes {
namespace {

std::unique_ptr<model::Network> first_critic(const Recipe& recipe, const StageSpec& stage,
                                             const model::Network& policy) {
  auto network = model::with_scalar_head(policy, stage_seed(recipe, stage.name));
  const at::NoGradGuard no_grad;
  network->parameters().back().tensor.zero_();
  return network;
}

std::unique_ptr<model::Network> load_critic(const Recipe& recipe, const StageSpec& stage,
                                            const StageStart& start, const model::Network& policy) {
  auto network = start.resumed
                     ? model::load_model(start.checkpoint.critic(), device_of(recipe), {.scalar_head = true})
                     : first_critic(recipe, stage, policy);
  network->round_products(recipe.model.rounding);
  network->checkpoint_blocks(stage.batch.gradient_checkpointing);
  return network;
}

}  // namespace

StageCritic::StageCritic(const Recipe& recipe, const StageSpec& stage, const StageStart& start,
                         const model::Network& policy, transport::Collective& collective)
    : network_(load_critic(recipe, stage, start, policy)),
      optimizer_(*network_, collective, stage.critic.optim, stage.steps * stage.learner.updates_per_step()),
      critic_(*network_, optimizer_, stage.critic.value_clip) {
  if (start.resumed) load_critic_optimizer(start.checkpoint, optimizer_);
}

std::unique_ptr<StageCritic> make_critic(const Recipe& recipe, const StageSpec& stage,
                                         const StageStart& start, const model::Network& policy,
                                         transport::Collective& collective) {
  if (!stage.has_critic()) return nullptr;
  return std::make_unique<StageCritic>(recipe, stage, start, policy, collective);
}

}  // namespace sluice::recipes
