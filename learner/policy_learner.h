// One step of a policy-gradient stage: a batch of groups, learned from in one or several updates.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "learner/advantages.h"
#include "learner/aggregation.h"
#include "learner/coefficients.h"
#include "learner/off_policy.h"
#include "learner/policy_loss.h"
#include "learner/step_plan.h"
#include "learner/training_batch.h"
#include "model/network.h"
#include "optim/optimizer.h"
#include "reference/reference_policy.h"

namespace sluice::learner {

class Critic;
namespace internal {
struct StepTally;
}

// What the ratio that is clipped is taken against (spec section 8.1).
enum class OldPolicy {
  Behaviour,  // the policy that sampled, whatever its version (bypass mode, section 8.5)
  Proximal,   // the policy before the step; how far that is from the one that sampled is corrected for
  Between,    // as Proximal, guessed from the versions without a forward (log-linear, section 8.5)
};

struct PolicyLearnerOptions {
  PolicyLossOptions loss;
  Aggregation aggregation = Aggregation::SeqMeanTokenMean;
  SequenceDenominator seq_denominator = SequenceDenominator::All;
  AdvantageOptions advantage;  // as make_training_batch() had them
  bool kl_in_reward = false;   // loss.beta weighs k1 in the rewards, before advantages, and not in the loss
  double gamma = 1.0;          // discounts rewards of tokens, without a baseline or with a critic
  double lambda = 0.95;        // of gae(), with a critic
  int64_t critic_warmup = 0;   // versions before this one teach the critic alone
  OldPolicy old_policy = OldPolicy::Behaviour;
  // Whether actors record what this network gives with the weights of their version, to the last bit: then
  // those of the version before the step are the proximal ones.
  bool exact_logprobs = false;
  CorrectionOptions correction;   // of Proximal and Between
  double max_sequence_kl = 0.0;   // keep_near_sequences(); 0: off
  double moment_threshold = 0.0;  // keep_small_moments(); 0: off
  double entropy_share = 1.0;     // keep_high_entropy(); 1: off
  double entropy_bonus = 0.0;     // times the mean entropy of the chosen tokens, taken off the loss
  double kl_target = 0.0;         // of Coefficients, as the next three
  double kl_horizon = 10'000;
  double entropy_target = 0.0;
  double entropy_delta = 0.005;
  double value_memory = 0.875;         // ValueTracker's, of Baseline::History
  int64_t epochs = 1;                  // times that the batch is gone through
  int64_t minibatches = 1;             // updates in each, over a part of the groups
  double target_kl = 0.0;              // moved_too_far() ends a step before its last update; 0: nothing does
  double temperature = 1.0;            // the actors'
  int64_t micro_batch_tokens = 16384;  // rows of one forward
  double router_aux_loss = 0.0;        // times the experts' balancing loss in the loss; 0: left out

  bool needs_reference() const { return loss.beta != 0.0; }
  // Whether a mask of a token depends on the other tokens of its step.
  bool compares_tokens() const { return moment_threshold > 0.0 || entropy_share < 1.0; }
  int64_t updates_per_step() const { return epochs * minibatches; }
  CoefficientOptions coefficients() const {
    return {.beta = loss.beta,
            .kl_target = kl_target,
            .kl_horizon = kl_horizon,
            .entropy = entropy_bonus,
            .entropy_target = entropy_target,
            .entropy_delta = entropy_delta};
  }
};

// Why an update of a step was not applied, and the rest of the step left.
struct StepFault {
  std::string cause;                            // "" when there was no such thing
  std::map<size_t, std::string> poisoned = {};  // groups of the batch that brought it, each with the reason
  bool everywhere = false;  // no group of several gave finite numbers: it is not the groups
};

// Everything a step measured, by the metric names of docs/architecture.md; a mean over nothing is omitted.
using StepMetrics = std::map<std::string, double>;

// By group and completion of a batch.
using TokenLogRatios = std::map<std::pair<size_t, size_t>, std::vector<float>>;

// Owns nothing; not safe from several threads at once, but for plan().
class PolicyLearner {
 public:
  // `reference` may be null when beta is 0; `critic` is not where it is the baseline, and null elsewhere.
  PolicyLearner(model::Network& network, const reference::ReferencePolicy* reference,
                optim::Optimizer& optimizer, const PolicyLearnerOptions& options, Critic* critic = nullptr);

  // Cuts the batch into the micro-batches of its updates and sends them to the device. Depends on no weights:
  // it may go on in another thread while a step before it is learned from.
  StepPlan plan(TrainingBatch batch) const;

  // Forward, loss, backward over the micro-batches, an update; as often as the options say. An update without
  // a chosen token is none.
  //
  // Where a batch is learned from in one update, a proximal forward before it would give exactly the
  // log-probs being trained: the ratio to them is 1, and its clip never holds. The ratio to the behaviour
  // policy bounds the drift of a batch sampled some versions ago; on a batch of the current version both are
  // the same.
  //
  // The recorded log-probs are those before top-k and top-p (spec section 8.1). What was sampled from is that
  // policy divided by the mass these kept, so the ratio is exp(new - recorded) * kept mass: below 1 under
  // truncation even on-policy, as a kept token was drawn more often than the policy would have. Where less
  // than 1 - clip_low is kept, such a token of negative advantage is past the clip. Tokens that were cut off
  // are never drawn: no ratio makes up for that. Without truncation the mass is 1 and nothing changes.
  //
  // `version` is the policy's before the step. logprob_diff/* and mismatch_kl (k3) are the mismatch between
  // the learner's and the recorded log-probs on tokens of that version before the first update, sampling/* on
  // all. Groups that can have no gradient are left out of the forward where none of the options gives them
  // one, and entropy, ratio/*, *_kl, logprob_diff/* and sampling/* are means over the tokens that remain,
  // omitted when none does. Every other metric is over the whole step, and over its updates where there are
  // several; clip_ratio/low_min and high_max over sequences that have a chosen token.
  //
  // aux_loss, of a network with experts, is their balancing loss before its coefficient: that of each
  // micro-batch, weighted by its share of the rows that go through the network. A ratio of means, it changes
  // a little with the cut, which nothing else does.
  //
  // A critic says what the states were worth before the step, and learns from their returns in the same
  // updates as the policy; alone as long as `version` is below critic_warmup. A critic that knows nothing
  // lets gae() call the late tokens of a good completion good and the early ones bad.
  //
  // An update whose loss or gradient is not finite on any rank is skipped on all, and ends the step.
  //
  // Of several ranks, those of the optimizer, each calls this with the same batch, computes its share of the
  // micro-batches, and returns the same metrics. Uses the plan up.
  StepMetrics step(StepPlan& plan, int64_t version);
  // Of a batch for which nothing was done before.
  StepMetrics step(TrainingBatch batch, int64_t version);
  // Of the last step.
  const StepFault& fault() const { return fault_; }
  // Of the last step: by how much each chosen token was likelier to the learner when it first saw it than to
  // the actor that drew it, as a difference of log-probs. Of the completions that this rank learned from.
  const TokenLogRatios& log_ratios() const { return log_ratios_; }

  // What the next step weighs KL and entropy with; of a resumed stage to be loaded.
  Coefficients& coefficients() { return coefficients_; }

 private:
  using Tally = internal::StepTally;
  bool is_own(const StepPart& part) const;
  int64_t lacked(const StepUpdate& update) const;  // parts of a rank that has more
  bool all_groups_learn() const;
  static bool are_of_version(const std::vector<StepUpdate>& updates, int64_t version);
  // What is computed before the first update: proximal and reference log-probs, advantages of tokens, masks.
  void prepare(StepPlan& plan, int64_t version, StepMetrics& metrics) const;
  void look_ahead(std::vector<StepUpdate>& updates, int64_t version) const;
  void mask_tokens(std::vector<StepUpdate>& updates) const;
  void learn(const StepPart& part, const StepDenominators& denominators, int64_t version, bool first,
             Tally& tally);
  void keep_log_ratios(const MicroBatch& micro, const at::Tensor& logprobs);
  bool teach_critic(bool sound);
  bool move_policy(bool sound, Tally& tally, StepMetrics& metrics);
  void finish(const TrainingBatch& batch, const Tally& tally, bool moved, StepMetrics& metrics);
  at::Tensor old_logprobs(const StepPart& part, const at::Tensor& logprobs, int64_t version) const;
  at::Tensor factors(const StepPart& part, const at::Tensor& logprobs, const at::Tensor& old,
                     Tally& tally) const;

  model::Network& network_;
  const reference::ReferencePolicy* const reference_;
  optim::Optimizer& optimizer_;
  const PolicyLearnerOptions options_;
  Critic* const critic_;
  Coefficients coefficients_;
  StepFault fault_;
  TokenLogRatios log_ratios_;
};

// reward, reward_std, greedy_reward where it is the baseline, rewards/NAME/{mean,std,unscored},
// frac_reward_zero_std, completions/*, num_tokens (spec section 16). Lengths count chosen tokens, num_tokens
// those of prompts (once for each completion) and completions; `unscored` counts completions.
StepMetrics rollout_metrics(const TrainingBatch& batch, const std::vector<std::string>& reward_names);

}  // namespace sluice::learner
