// What a preference stage learns: a loss of pairs, or of completions that were judged one by one.
#pragma once

#include <cstdint>

#include "learner/kto_learner.h"
#include "learner/preference_learner.h"
#include "learner/preference_tokens.h"
#include "text/preference_rows.h"

namespace sluice::recipes {

// How a reference follows the policy (TR-DPO 2024).
struct MixSpec {
  int64_t every = 0;   // steps after which the policy is mixed in; 0: never
  double alpha = 1.0;  // its share; 1: the reference becomes the policy
};

// Lengths, micro-batches and the balance of experts are those of the stage's `batch` and of the model.
struct PreferenceSpec {
  text::PreferenceColumns columns = text::PreferenceColumns::Pairs;
  learner::PreferenceLearnerOptions pairs;  // of Pairs
  learner::KtoLearnerOptions kto;           // of Judged
  learner::Truncation truncation = learner::Truncation::KeepStart;
  MixSpec mix;
  int64_t held_out = 0;  // pairs that are put aside and measured

  bool judged() const { return columns == text::PreferenceColumns::Judged; }
  bool needs_reference() const { return judged() || learner::needs_reference(pairs.terms); }
};

}  // namespace sluice::recipes
