// What a recipe names, opened before a run is made of it: data, rewards, addresses, model and tokenizer.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "recipes/recipe.h"
#include "text/tokenizer.h"

namespace sluice::recipes {

// The tokenizer that a run of the recipe starts with: loaded, or trained on the first stage's data.
std::unique_ptr<text::Tokenizer> make_tokenizer(const Recipe& recipe);

// Opens everything the recipe names and returns how many rows each stage reads. Writes and connects to
// nothing.
//
// Throws UsageError for a mistake in the recipe: a malformed address or URL, options no reader or reward
// takes, lengths that do not fit the model. Throws DataError for data, a model or a tokenizer that cannot be
// read, and for a prompt that with its completion is too long for the model; EnvironmentError for a device
// that is not there.
std::vector<int64_t> check_inputs(const Recipe& recipe);

}  // namespace sluice::recipes
