// Learns from pairs of completions of which one is preferred (spec sections 9.1 to 9.3).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learner/policy_learner.h"
#include "learner/preference_batch.h"
#include "learner/preference_loss.h"
#include "learner/reference_logps.h"
#include "model/network.h"
#include "optim/optimizer.h"

namespace sluice::learner {

struct PreferenceLearnerOptions {
  std::vector<PreferenceTerm> terms = preference_terms("sigmoid");
  double ld_alpha = 1.0;         // LD-DPO: weight of the tokens past the shorter completion's length; 1: off
  bool wpo = false;              // WPO: pairs weigh as much as the policy would say them
  bool nll_over_prompt = false;  // Sft learns the prompt's tokens too, all but its first
  int64_t micro_batch_tokens = 16384;  // rows of one forward
  double router_aux_loss = 0.0;        // times the experts' balancing loss in the loss; 0: left out
};

// Network and optimizer outlive it; not safe from several threads at once.
class PreferenceLearner {
 public:
  // `reference` is asked once a step, for its pairs, and may be empty where no term needs one. Throws Error
  // for options that make no sense.
  PreferenceLearner(model::Network& network, optim::Optimizer& optimizer, ReferenceLogps reference,
                    const PreferenceLearnerOptions& options);

  // One update from these pairs, chosen completion first. The gradient is the same however they are packed;
  // where a term sorts the whole step, a forward without gradients comes before it.
  //
  // loss, rewards/{chosen,rejected,margins,accuracies}, logps/{chosen,rejected} (sums over a completion),
  // logits/{chosen,rejected}, nll_loss where a term has it, entropy over the completions' tokens, num_tokens,
  // grad_norm, learning_rate, those of Optimizer::metrics(), and aux_loss of a network with experts. Throws
  // DataError for no pairs and as pack_preferences() does.
  //
  // logits/... are as in TRL: the logits that predict the counted tokens of those completions, their mean
  // over the vocabulary and over all these tokens of the step, of long completions and short ones alike.
  StepMetrics step(std::span<const PreferenceExample> pairs);

  // rewards/... and logps/... of these pairs, at once and without gradients; nothing moves.
  StepMetrics measure(std::span<const PreferenceExample> pairs) const;

 private:
  at::Tensor reference_of(std::span<const PreferenceExample> pairs) const;
  at::Tensor all_logps(const std::vector<PreferencePack>& packs, transport::Collective& ranks) const;
  at::Tensor logps(const PreferencePack& pack, const at::Tensor& logprobs) const;
  at::Tensor pair_weights(const PreferencePack& pack, const model::BatchLogprobs& out) const;

  model::Network& network_;
  optim::Optimizer& optimizer_;
  const ReferenceLogps reference_;
  const PreferenceLearnerOptions options_;
  const bool has_sft_;
};

}  // namespace sluice::learner
