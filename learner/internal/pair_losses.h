// The formulas of the preference losses, one number for each pair.
#pragma once

#include <ATen/core/Tensor.h>

#include "learner/preference_loss.h"

namespace sluice::learner::internal {

// [pairs] each: log-ratios, log-probs or what a term makes of them.
struct Scores {
  at::Tensor chosen, rejected;
};

// What beta multiplies in the rewards that the metrics show.
Scores scores_of(const PreferenceTerm& term, const PreferenceLossInputs& in);

// [pairs], before the term's weight; of any type but Sft.
at::Tensor pair_losses(const PreferenceTerm& term, const PreferenceLossInputs& in);

// log(odds(chosen) / odds(rejected)) of average log-probs [pairs] (ORPO 2024). What is above -1e-7 counts as
// that: the odds of a certain completion are infinite.
at::Tensor log_odds_ratio(const at::Tensor& chosen_average, const at::Tensor& rejected_average);

}  // namespace sluice::learner::internal
