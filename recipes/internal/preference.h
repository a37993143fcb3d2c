// The `preference` table of a stage: what it says, whether that holds together, and in words.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "recipes/preference_spec.h"

namespace sluice::recipes::internal {

// What preference.loss may be: the losses of pairs, "kto" and "apo_zero_unpaired".
std::vector<std::string> preference_losses();

// Numbers that are null are the loss's own.
PreferenceSpec read_preference(const Json& json);

// Throws UsageError naming the stage for what contradicts itself, or the adapters that the model has.
void check_preference(const PreferenceSpec& spec, const std::string& stage, bool has_adapters);

// One line: what is learned from, against what reference.
std::string describe(const PreferenceSpec& spec);

}  // namespace sluice::recipes::internal
