// What the micro-batches of a step add up to, on this rank and then over all of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "learner/internal/fault_finder.h"
#include "learner/off_policy.h"
#include "learner/policy_learner.h"
#include "learner/policy_loss.h"
#include "transport/collective.h"

namespace sluice::learner::internal {

// Sum, count and maximum of what is not negative.
struct Spread {
  double sum = 0.0, max = 0.0;
  int64_t count = 0;

  void add(const at::Tensor& values);
  void report(const std::string& mean_name, const std::string& max_name, StepMetrics& metrics) const;
};

struct StepTally {
  // Of the step as a whole, which every rank counts alike.
  int64_t updates = 0;
  int64_t step_tokens = 0, step_nonempty = 0;  // of the updates, also what was left out
  double grad_norm = 0.0;                      // sum of those that are no overflow
  int64_t norms = 0;

  int64_t tokens = 0;  // that went through the network
  int64_t sequences = 0;
  double loss = 0.0, entropy = 0.0, mismatch_kl = 0.0, masked = 0.0;
  double aux_loss = 0.0;
  int64_t aux_losses = 0;                                // micro-batches that had one
  double clipped_low_min = 1.0, clipped_high_max = 0.0;  // shares of a sequence
  PolicyLossSums sums{.ratio_max = 0.0, .ratio_min = std::numeric_limits<double>::infinity()};
  RatioSums rho;
  Spread same_version_diff, diff;
  Spread sequence_kl;  // of each completion's mean
  FaultFinder faults;  // taken together by itself

  void add(const PolicyLossSums& more);
  void add_sequences(const PolicyLoss& loss, const std::vector<int64_t>& lengths);
  // Of the recorded log-probs and those of the weights that sampled: before anything was learned.
  void add_mismatch(const MicroBatch& micro, const at::Tensor& logprobs, int64_t version);

  // Makes this that of all ranks, on every one of them.
  void take_together(transport::Collective& ranks);
  void report(const PolicyLearnerOptions& options, StepMetrics& metrics) const;

 private:
  template <class Visit>
  void for_each_number(const Visit& visit);
  void report_corrections(const PolicyLearnerOptions& options, StepMetrics& metrics) const;
};

}  // namespace sluice::learner::internal
