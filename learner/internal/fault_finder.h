// Finds the groups of a step whose numbers are not those of a policy, before they reach a gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <map>
#include <set>
#include <string>

#include "learner/policy_learner.h"
#include "learner/training_batch.h"

namespace sluice::learner::internal {

class FaultFinder {
 public:
  // A micro-batch after its forward: the policy's log-probs [targets], and the loss of its tokens.
  void look(const MicroBatch& micro, const at::Tensor& logprobs, const PolicyLoss& loss);
  bool found() const { return !bad_.empty(); }

  // Of an update that was not applied as loss or gradient were not finite.
  StepFault fault(double loss) const;

 private:
  std::set<size_t> seen_;              // groups of the batch
  std::map<size_t, std::string> bad_;  // of those, with what is wrong
};

}  // namespace sluice::learner::internal
