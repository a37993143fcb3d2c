// How the rows of the schema are put into words, for the reference page and for `sluice help KEY`.
#pragma once

#include <string>

#include "recipes/schema.h"

namespace sluice::recipes::internal {

std::string type_name(KeyType type);
std::string name_of(StageRole role);
// "optim.lr", as an override has it; keys of a stage and of the recipe itself have no table.
std::string full_name(const SchemaKey& key);

// What the table of keys has no room for: the unit of a number, and when it is worth changing. Empty where
// there is nothing to say.
struct KeyAdvice {
  std::string unit, when;
};
KeyAdvice advice_of(const SchemaKey& key);

}  // namespace sluice::recipes::internal
