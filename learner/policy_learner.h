// One optimizer step of a policy-gradient stage.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "learner/policy_loss.h"
#include "learner/training_batch.h"
#include "model/network.h"
#include "optim/optimizer.h"
#include "reference/reference_policy.h"

namespace sluice::learner {

struct PolicyLearnerOptions {
  PolicyLossOptions loss;
  Aggregation aggregation = Aggregation::SeqMeanTokenMean;
  double temperature = 1.0;            // the actors'
  int64_t micro_batch_tokens = 16384;  // rows of one forward
};

// Everything a step measured, by the metric names of docs/architecture.md; a mean over nothing is omitted.
using StepMetrics = std::map<std::string, double>;

// Owns nothing; not safe from several threads at once.
class PolicyLearner {
 public:
  // `reference` may be null when beta is 0.
  PolicyLearner(model::Network& network, const reference::ReferencePolicy* reference,
                optim::Optimizer& optimizer, const PolicyLearnerOptions& options);

  // Forward, loss, backward over the micro-batches, one update. A step without a chosen token updates
  // nothing.
  //
  // The ratio that is clipped is taken against the actor's recorded log-probs, whatever their version (bypass
  // mode, spec section 8.5). A batch is learned from in one update, so a proximal forward before it would
  // give exactly the log-probs being trained: a ratio of 1 that neither corrects nor bounds the drift of a
  // batch sampled some versions ago. Against the behaviour policy the ratio is that correction and the clip
  // its bound; on a batch of the current version both are the same. The log-probs are those before top-k and
  // top-p, so the mass these cut off is a bias the ratio does not see (spec section 8.1).
  //
  // `version` is the policy's before the update. logprob_diff/* is the mismatch between learner and actor on
  // tokens of that version, sampling/* on all. With beta 0, groups without a gradient are left out of the
  // forward, and entropy, ratio/*, *_kl, logprob_diff/* and sampling/* are means over the tokens that remain,
  // omitted when none does. Every other metric is over the whole step.
  StepMetrics step(const TrainingBatch& batch, int64_t version);

 private:
  struct Tally;
  void learn(const MicroBatch& micro, const StepDenominators& denominators, int64_t version, Tally& tally);

  model::Network& network_;
  const reference::ReferencePolicy* const reference_;
  optim::Optimizer& optimizer_;
  const PolicyLearnerOptions options_;
};

// reward, reward_std, rewards/NAME/{mean,std,unscored}, frac_reward_zero_std, completions/*, num_tokens (spec
// section 16). Lengths count chosen tokens, num_tokens those of prompts (once for each completion) and
// completions; `unscored` counts completions.
StepMetrics rollout_metrics(const TrainingBatch& batch, const std::vector<std::string>& reward_names);

}  // namespace sluice::learner
