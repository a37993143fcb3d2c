// What every rank of a policy stage has: the network, its critic and its reference, and what a step makes of
// them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "learner/policy_learner.h"
#include "learner/step_plan.h"
#include "learner/value_tracker.h"
#include "model/network.h"
#include "optim/optimizer.h"
#include "recipes/checkpoint.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/stage_critic.h"
#include "recipes/internal/stage_reference.h"
#include "transport/collective.h"

namespace sluice::recipes {

class PolicyTrainer {
 public:
  // As the checkpoint of `start` has it. All of them outlive it. Throws Error when the ranks do not begin
  // with the same weights.
  PolicyTrainer(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                const StageStart& start, transport::Collective& ranks);

  // What step `step`, counted from 0 in the stage, does with these groups.
  learner::StepPlan plan(int64_t step, std::vector<buffers::RolloutGroup> groups) const;
  // Whether another thread may plan a step while the one before it is learned from: not where that decides
  // what the groups are measured against, and not for one of several ranks, which would wait for the others.
  bool plans_ahead() const {
    return stage_.learner.advantage.baseline != learner::Baseline::History &&
           optimizer_.collective().size() == 1;
  }
  // Every rank calls it with the same batch.
  learner::StepMetrics learn(learner::StepPlan& plan);
  // That the policy's updates waited for their gradients to be summed over ranks, since the last call.
  double take_sum_seconds() { return optimizer_.take_sum_seconds(); }
  // Of the last step.
  const learner::StepFault& fault() const { return learner_->fault(); }
  const learner::TokenLogRatios& log_ratios() const { return learner_->log_ratios(); }

  // Before a checkpoint of so many steps, on every rank: throws Error where they do not have the same
  // weights, and gives rank 0 what the others hold.
  void prepare_checkpoint(int64_t done);
  // Rank 0 has all of the policy as long as it lives, to publish and to save it; on every rank.
  [[nodiscard]] optim::WholeWeights whole_weights() const { return optimizer_.whole_weights(); }
  // What it has of all this; the stage adds earlier versions and what it remembers besides.
  CheckpointContents contents(const text::Tokenizer& tokenizer) const;
  Json coefficients() const { return learner_->coefficients().state(); }
  Json values() const { return values_.state(); }
  // Throws Error when the reference is not what it was.
  void check_reference() const;

  model::Network& network() { return *network_; }
  const model::Network& network() const { return *network_; }
  const optim::Optimizer& optimizer() const { return optimizer_; }
  const std::vector<double>& reward_weights() const { return reward_weights_; }

 private:
  const StageSpec& stage_;
  const std::unique_ptr<model::Network> network_;
  optim::Optimizer optimizer_;
  const std::unique_ptr<StageCritic> critic_;  // null without one
  std::unique_ptr<StageReference> reference_;  // likewise
  learner::ValueTracker values_;
  std::vector<double> reward_weights_;
  std::unique_ptr<learner::PolicyLearner> learner_;
};

}  // namespace sluice::recipes
