#include "recipes/internal/policy_trainer.h"

#include <utility>

#include "recipes/internal/stage_ranks.h"

namespace sluice::recipes {
namespace {

// As tests/actors/match_test.cc has them: of products whose rows are rounded, on processors of one kind
// alone.
bool records_exact_logprobs(const model::Network& network, const StageSpec& stage) {
  return network.device().is_cpu() && !network.lora() && !stage.rollout.int8_weights &&
         model::kernels_serve(network.config()) && !network.head().rounds_rows_to();
}

}  // namespace

PolicyTrainer::PolicyTrainer(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                             const StageStart& start, transport::Collective& ranks)
    : stage_(stage),
      network_(load_trained(run, recipe, stage, start)),
      optimizer_(*network_, ranks, stage.optim, stage.num_updates()),
      critic_(make_critic(recipe, stage, start, *network_, ranks)),
      values_(stage.learner.value_memory) {
  if (start.resumed) load_optimizer(start.checkpoint, optimizer_);
  start.recall("values", values_);
  if (stage.learner.loss.beta > 0)
    reference_ = std::make_unique<StageReference>(run, recipe, stage, start, stage.reference_mix, *network_);
  for (const auto& reward : stage.rewards) reward_weights_.push_back(reward.weight);
  auto options = stage.learner;
  options.exact_logprobs = records_exact_logprobs(*network_, stage);
  learner_ =
      std::make_unique<learner::PolicyLearner>(*network_, reference_ ? &reference_->policy() : nullptr,
                                               optimizer_, options, critic_ ? &critic_->critic() : nullptr);
  start.recall("coefficients", learner_->coefficients());
  check_in_step(optimizer_, "that stage " + stage.name + " begins with");
}

learner::StepPlan PolicyTrainer::plan(int64_t step, std::vector<buffers::RolloutGroup> groups) const {
  return learner_->plan(learner::make_training_batch(step, std::move(groups), reward_weights_,
                                                     stage_.learner.advantage,
                                                     stage_.rollout.sampling.max_new_tokens, &values_));
}

learner::StepMetrics PolicyTrainer::learn(learner::StepPlan& plan) {
  const auto& batch = plan.batch;
  auto metrics = learner_->step(plan, batch.step);
  if (stage_.learner.advantage.baseline == learner::Baseline::History && fault().cause.empty()) {
    values_.learn(learner::prompts_of(batch), batch.rewards);
  }
  if (reference_) reference_->follow(*network_, batch.step + 1);
  return metrics;
}

void PolicyTrainer::prepare_checkpoint(int64_t done) {
  check_in_step(optimizer_, "after step " + std::to_string(done) + " of stage " + stage_.name);
  optimizer_.collect();
  if (critic_) critic_->optimizer().collect();
}

CheckpointContents PolicyTrainer::contents(const text::Tokenizer& tokenizer) const {
  return {.network = *network_,
          .tokenizer = tokenizer,
          .optimizer = &optimizer_,
          .critic = critic_ ? &critic_->network() : nullptr,
          .critic_optimizer = critic_ ? &critic_->optimizer() : nullptr,
          .reference = reference_ ? reference_->state() : at::Tensor()};
}

void PolicyTrainer::check_reference() const {
  if (reference_) reference_->policy().check_unmoved();
}

}  // namespace sluice::recipes
