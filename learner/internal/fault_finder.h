// Finds the groups of a step whose numbers are not those of a policy, before they reach a gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <map>

#include "learner/policy_learner.h"
#include "learner/training_batch.h"
#include "transport/collective.h"

namespace sluice::learner::internal {

class FaultFinder {
 public:
  // A micro-batch after its forward: the policy's log-probs [targets], and the loss of its tokens.
  void look(const MicroBatch& micro, const at::Tensor& logprobs, const PolicyLoss& loss);
  bool found() const { return found_; }

  // Of an update that was not applied as loss or gradient were not finite: of `num_groups` groups on all
  // ranks, of which this one's part of the loss is `loss`. All ranks get the same answer.
  StepFault fault(double loss, size_t num_groups, transport::Collective& ranks) const;

 private:
  // Of a group; what is found first counts.
  enum class State : unsigned char { Unseen, Sound, Logprob, Ratio, Loss };
  static const char* reason_of(State state);

  std::map<size_t, State> groups_;  // of the batch
  bool found_ = false;
};

}  // namespace sluice::learner::internal
