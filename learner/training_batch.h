// The groups of one step with their advantages and global denominators, and how they are cut.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "buffers/rollout_group.h"
#include "learner/advantages.h"
#include "learner/aggregation.h"
#include "learner/policy_loss.h"
#include "learner/value_tracker.h"
#include "model/packed_batch.h"

namespace sluice::learner {

// Fixed before it is cut into micro-batches: nothing computed from it depends on the cut (promise 7).
struct TrainingBatch {
  int64_t step = 0;
  std::vector<buffers::RolloutGroup> groups;
  GroupRewards rewards;           // total, empty when unscored
  std::vector<double> baselines;  // of Baseline::Greedy: each group's greedy reward; else none
  GroupNumbers advantages;        // of each completion, as far as rewards alone say it
  StepDenominators denominators;
  bool mask_truncated = false, bootstrap_truncated = false;
  int64_t max_new_tokens = 0;  // what each completion was asked for at most; 0: what it has

  // Whether no token of the completion is learned from, whatever its mask: the groups stay as they came.
  bool leaves_out(const buffers::Completion& completion) const {
    return mask_truncated && completion.finish == buffers::FinishReason::Length;
  }
  // Whether a critic is asked what would have come behind its last token.
  bool bootstraps(const buffers::Completion& completion) const {
    return bootstrap_truncated && completion.finish == buffers::FinishReason::Length;
  }
};

// `values` are there for Baseline::History, as they were before the step.
//
// Throws DataError for a group that cannot be learned from: an empty prompt, a completion of more than
// `max_new_tokens` or with vectors that differ in length, a chosen token's kept mass outside (0, 1], a number
// of outcomes that is not that of the weights, no score of a greedy completion that is the baseline.
TrainingBatch make_training_batch(int64_t step, std::vector<buffers::RolloutGroup> groups,
                                  const std::vector<double>& reward_weights, const AdvantageOptions& options,
                                  int64_t max_new_tokens, const ValueTracker* values = nullptr);
std::vector<std::string> prompts_of(const TrainingBatch& batch);  // the text of each group's

// Which completion of a batch.
struct CompletionIndex {
  size_t group = 0, completion = 0;
};

// A pack of whole completions of one or more groups, ready for the network: each group's prompt stands once
// and its completions name it as prefix. Targets are the chosen tokens, end to end. Tokens the policy did not
// choose are input and no targets; what follows the last chosen token's predecessor predicts nothing and is
// left out unless the completion is bootstrapped, and so is a completion without a chosen token. Each
// sequence is said to grow to its prompt's length and `max_new_tokens`, as the actor said when it sampled.
struct MicroBatch {
  model::PackedBatch batch;
  model::TokenTargets targets;
  std::vector<int64_t> lengths;   // chosen tokens of each completion, in order
  at::Tensor behaviour_logprobs;  // [targets] float32, as recorded by the actor: before top-k and top-p
  at::Tensor kept_mass;           // [targets] float32, what top-k and top-p kept; 1 without them
  at::Tensor advantages;          // [targets] float32
  at::Tensor versions;            // [targets] int64
  at::Tensor end_rows;            // [bootstrapped completions] int64, in order: the row of the last token
  std::vector<CompletionIndex> completions = {};  // whose tokens these are, in order
  int64_t rank = 0;                               // of the learner, which computes it
};

// A group all of whose advantages are exactly 0 has no gradient but that of the KL term: without one it can
// be left out of forward and backward. The step's denominators count it all the same.
enum class IdleGroups { Keep, LeaveOut };

// Some groups of a batch, learned from in one update.
struct GroupRange {
  size_t first = 0, count = 0;  // as far as there are so many
};
inline constexpr GroupRange kAllGroups{0, SIZE_MAX};
// The batch in `parts` ranges of groups as even as can be, in order.
std::vector<GroupRange> split_groups(const TrainingBatch& batch, int64_t parts);
StepDenominators denominators_of(const TrainingBatch& batch, const GroupRange& groups = kAllGroups);

// Cuts the groups at `max_tokens` rows a pack, best fit decreasing over groups (a group larger than that is
// cut between completions, its prompt repeated). The order is a pure function of the batch.
//
// Of several ranks each gets about as many rows, and packs of its own: a group of more rows than an even
// share is cut too.
std::vector<MicroBatch> cut_into_micro_batches(const TrainingBatch& batch, int64_t max_tokens,
                                               const at::Device& device, IdleGroups idle = IdleGroups::Keep,
                                               const GroupRange& groups = kAllGroups, int64_t ranks = 1);

}  // namespace sluice::learner
