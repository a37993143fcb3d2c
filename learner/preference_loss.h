// The losses of preference pairs: the DPO family, SimPO, CPO and ORPO (spec sections 9.1 to 9.3).
//
// A sum over pairs divided by the count of the whole optimizer step, so a step may be cut into micro-batches
// as one likes. Terms that sort (needs_whole_step) want all its pairs at once: where they do not fit, give
// leaves for the log-probs and send the gradients that come out through the network piece by piece.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "learner/preference_terms.h"

namespace sluice::learner {

struct PreferenceLossInputs {
  at::Tensor policy_chosen, policy_rejected;  // [pairs] log-probs of completions, carry grad
  at::Tensor ref_chosen, ref_rejected;        // [pairs] constant; undefined when no term needs a reference
  std::vector<int64_t> chosen_lengths, rejected_lengths;  // [pairs] tokens, the end of sequence included
  // [pairs] carries grad: what Sft learns where it is not policy_chosen, because that is weighted by position
  // (LD-DPO) or because the prompt is learned too.
  at::Tensor sft_logps;
  at::Tensor pair_weights;  // [pairs] constant factors of all terms but Sft, from wpo_weights(); undefined: 1
};

// What the whole optimizer step contains, on all ranks.
struct PreferenceDenominators {
  int64_t pairs = 0;
  int64_t sft_tokens =
      0;  // that Sft learns: those of the chosen completions, unless sft_logps says otherwise
};

// For the metrics of spec section 9: sums over the pairs, of which margins are differences. Rewards are those
// of the first term that compares: beta times the log-ratio or, without a reference, the log-prob (of CpoIpo
// and Orpo per token, of Simpo as its alpha shapes it).
struct PreferenceLossSums {
  int64_t pairs = 0;
  double rewards_chosen = 0, rewards_rejected = 0;
  double correct = 0;  // pairs whose chosen completion has the higher reward, not the same one
  double logps_chosen = 0, logps_rejected = 0;
  double nll = 0;  // of sft_logps, or of policy_chosen
};

struct PreferenceLoss {
  at::Tensor loss;       // scalar: this micro-batch's share of the step's loss
  at::Tensor pair_loss;  // [pairs] detached, all terms but Sft; of terms that sort, in their order
  PreferenceLossSums sums;
};

// Throws Error when the shapes disagree, a completion is empty or check_terms() finds something. No pair at
// all gives a zero connected to the graph.
PreferenceLoss preference_loss(const PreferenceLossInputs& in, const std::vector<PreferenceTerm>& terms,
                               const PreferenceDenominators& step);

}  // namespace sluice::learner
