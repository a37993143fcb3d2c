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
  SequenceDenominator seq_denominator = SequenceDenominator::All;
  double temperature = 1.0;            // the actors'
  int64_t micro_batch_tokens = 16384;  // rows of one forward
  double router_aux_loss = 0.0;        // times the experts' balancing loss in the loss; 0: left out
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
  // The ratio that is clipped is taken against the policy the actor sampled from, whatever its version
  // (bypass mode, spec section 8.5). A batch is learned from in one update, so a proximal forward before it
  // would give exactly the log-probs being trained: a ratio of 1 that neither corrects nor bounds the drift
  // of a batch sampled some versions ago. Against the behaviour policy the ratio is that correction and the
  // clip its bound; on a batch of the current version both are the same.
  //
  // The recorded log-probs are those before top-k and top-p (spec section 8.1). What was sampled from is that
  // policy divided by the mass these kept, so the ratio is exp(new - recorded) * kept mass: below 1 under
  // truncation even on-policy, as a kept token was drawn more often than the policy would have. Where less
  // than 1 - clip_low is kept, such a token of negative advantage is past the clip. Tokens that were cut off
  // are never drawn: no ratio makes up for that. Without truncation the mass is 1 and nothing changes.
  //
  // `version` is the policy's before the update. logprob_diff/* and mismatch_kl (k3) are the mismatch between
  // the learner's and the recorded log-probs on tokens of that version, sampling/* on all. With beta 0,
  // groups without a gradient are left out of the forward, and entropy, ratio/*, *_kl, logprob_diff/* and
  // sampling/* are means over the tokens that remain, omitted when none does. Every other metric is over the
  // whole step; clip_ratio/low_min and high_max over its sequences that have a chosen token.
  //
  // aux_loss, of a network with experts, is their balancing loss before its coefficient: that of each
  // micro-batch, weighted by its share of the rows that go through the network. A ratio of means, it changes
  // a little with the cut, which nothing else does.
  StepMetrics step(const TrainingBatch& batch, int64_t version);

 private:
  struct Tally;
  // `share` is the micro-batch's of the step's rows.
  void learn(const MicroBatch& micro, const StepDenominators& denominators, double share, int64_t version,
             Tally& tally);

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
