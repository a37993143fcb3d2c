// The critic of a policy stage: a network and an optimizer of its own.
#pragma once

#include <memory>

#include "learner/critic.h"
#include "model/network.h"
#include "optim/optimizer.h"
#include "recipes/internal/stage_context.h"
#include "transport/collective.h"

namespace sluice::recipes {

class StageCritic {
 public:
  // The policy that the stage begins with under a head of zeros: nothing is worth anything yet. A stage that
  // goes on has its own in the checkpoint.
  StageCritic(const Recipe& recipe, const StageSpec& stage, const StageStart& start,
              const model::Network& policy, transport::Collective& collective);

  learner::Critic& critic() { return critic_; }
  const model::Network& network() const { return *network_; }
  optim::Optimizer& optimizer() { return optimizer_; }

 private:
  const std::unique_ptr<model::Network> network_;
  optim::Optimizer optimizer_;
  learner::Critic critic_;
};

// Null for a stage that has none.
std::unique_ptr<StageCritic> make_critic(const Recipe& recipe, const StageSpec& stage,
                                         const StageStart& start, const model::Network& policy,
                                         transport::Collective& collective);

}  // namespace sluice::recipes
