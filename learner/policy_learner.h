// One optimizer step of a policy-gradient stage.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "learner/policy_loss.h"
#include "learner/training_batch.h"
#include "optim/optimizer.h"
#include "reference/reference_policy.h"

namespace sluice::learner {

struct PolicyLearnerOptions {
  PolicyLossOptions loss;
  Aggregation aggregation = Aggregation::SeqMeanTokenMean;
  double temperature = 1.0;            // the actors'
  int64_t micro_batch_tokens = 16384;  // rows of one forward
};

// Everything a step measured, by the metric names of docs/architecture.md.
using StepMetrics = std::map<std::string, double>;

// Owns nothing; not safe from several threads at once.
class PolicyLearner {
 public:
  // `reference` may be null when beta is 0.
  PolicyLearner(model::Network& network, const reference::ReferencePolicy* reference, optim::Optimizer& optimizer,
                const PolicyLearnerOptions& options);

  // Forward, loss, backward over the micro-batches, one update. The proximal log-probs are the actor's where
  // every token was sampled at the current version and without truncation, else a forward without gradient
  // before the update (spec section 8.1). Also measures the mismatch between actor and learner (logprob_diff/*)
  // on tokens of the current version.
  StepMetrics step(const TrainingBatch& batch, int64_t version);

 private:
  model::Network& network_;
  const reference::ReferencePolicy* const reference_;
  optim::Optimizer& optimizer_;
  const PolicyLearnerOptions options_;
};

// reward, reward_std, rewards/NAME/mean, frac_reward_zero_std, completions/*, num_tokens (spec section 16).
StepMetrics rollout_metrics(const TrainingBatch& batch, const std::vector<std::string>& reward_names);

}  // namespace sluice::learner
