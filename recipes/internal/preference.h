// The `preference` table of a stage: what it says, whether that holds together, and in words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "recipes/preference_spec.h"

namespace sluice::recipes::internal {

// What preference.loss may be: the losses of pairs, "kto" and "apo_zero_unpaired".
std::vector<std::string> preference_losses();

// Numbers that are null are the loss's own.
PreferenceSpec read_preference(const Json& json);

// Throws UsageError naming the stage for what contradicts itself, the adapters that the model has, or the
// stage's batch.examples_per_step.
void check_preference(const PreferenceSpec& spec, const std::string& stage, bool has_adapters,
                      int64_t examples_per_step);

// "0.6 of the policy mixed into the reference every 64 steps"
std::string describe(const MixSpec& mix);
// One line: what is learned from, against what reference.
std::string describe(const PreferenceSpec& spec);

}  // namespace sluice::recipes::internal
