// One optimizer step over packs of completions: what learning from pairs and from single examples share.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <span>
#include <vector>

#include "learner/policy_learner.h"
#include "learner/preference_batch.h"
#include "model/network.h"
#include "optim/optimizer.h"

namespace sluice::learner::internal {

// Clears the gradients when it is made. Owns nothing; for each of the packs that are the rank's, in their
// order, forward(), then backward().
class PreferenceUpdate {
 public:
  PreferenceUpdate(const model::Network& network, optim::Optimizer& optimizer, double router_aux_loss,
                   std::span<const PreferenceExample> examples, const std::vector<PreferencePack>& packs);

  // Of the pack's targets, log-probs with gradients.
  model::BatchLogprobs forward(const PreferencePack& pack);
  // Of the last forward; its experts' balancing loss is added.
  void backward(at::Tensor objective);
  void add_loss(double share) { loss_ += share; }
  // Moves the weights, unless the loss is not finite, and measures over all ranks: loss, entropy (the mean
  // over completions' targets), logits/{chosen,rejected}, grad_norm, learning_rate, those of
  // Optimizer::metrics(), and aux_loss of a network with experts.
  StepMetrics finish();

 private:
  // Of the completions that were chosen, or judged good, and of the others.
  struct Side {
    int64_t tokens = 0;
    double logits = 0.0;  // the sum over tokens of their mean over the vocabulary
  };
  void add_logits(const PreferencePack& pack, const at::Tensor& hidden);

  const model::Network& network_;
  optim::Optimizer& optimizer_;
  const double router_aux_loss_;
  const std::span<const PreferenceExample> examples_;
  const PreferencePack* const last_;  // of this rank, or null
  const int64_t lacked_;              // packs of a rank that has more
  int64_t rows_ = 0, targets_ = 0;    // of the step on all ranks, those of prompts left out
  at::Tensor balance_;                // of the last forward, times its share of the rows; may be undefined
  double loss_ = 0.0, entropy_ = 0.0;
  Side chosen_, rejected_;
  std::optional<double> aux_loss_;
};

}  // namespace sluice::learner::internal
