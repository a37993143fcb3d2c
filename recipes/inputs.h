// What a recipe names, opened before a run is made of it: data, rewards, addresses, model and tokenizer.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/model_config.h"
#include "recipes/recipe.h"
#include "text/tokenizer.h"

namespace sluice::recipes {

// The tokenizer that a run of the recipe starts with: loaded, or trained on the first stage's data.
std::unique_ptr<text::Tokenizer> make_tokenizer(const Recipe& recipe);

// The shape of the network that such a run starts with: the directory's, or the recipe's own with the
// tokenizer's vocabulary. Its eos_ids are all that end a completion. Throws DataError when the tokenizer has
// more pieces than the model.
model::ModelConfig make_model_config(const Recipe& recipe, const text::Tokenizer& tokenizer);

struct InputsFound {
  struct Stage {
    int64_t rows = 0;     // that it reads; 0 where another stage makes them
    int64_t longest = 0;  // tokens of a sequence, those it may generate counted in
  };
  std::vector<Stage> stages;
  model::ModelConfig model;
};

// Opens everything the recipe names but the model's weights. Writes and connects to nothing.
//
// Throws UsageError for a mistake in the recipe: a malformed address or URL, options no reader or reward
// takes, lengths that do not fit the model. Throws DataError for data, a model or a tokenizer that cannot be
// read, and for a prompt that with its completion is too long for the model.
InputsFound check_inputs(const Recipe& recipe);

// What a run needs beyond that, and a plan does not: every tensor of the model, and the device. Throws
// DataError saying where to get a model that has no weights, EnvironmentError for a device that is not there.
void check_machine(const Recipe& recipe);

}  // namespace sluice::recipes
