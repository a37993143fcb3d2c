// Parts of a config.json that many families write the same way.
#pragma once

#include "model/families/config_reader.h"
#include "model/model_config.h"

namespace sluice::model {

// Sizes, heads, norm epsilon, activation, ties: what a Llama has and most others too. Layers get no window.
// `tied` is what a missing tie_word_embeddings means. Scores are scaled by 1 / sqrt(head_dim).
void read_decoder(const ConfigReader& json, ModelConfig& config, bool tied = false);

// `layer_types` ("full_attention", "sliding_attention") into windows of `window` tokens; where the list is
// missing, `slides` says which layers have one.
void read_windows(const ConfigReader& json, std::optional<int64_t> window,
                  bool (*slides)(int64_t layer, int64_t pattern), int64_t pattern, ModelConfig& config);

// The rotary frequencies of heads of `head_dim` numbers. Newer files say everything in `rope_parameters`;
// older ones have `rope_theta` and, when scaled, `rope_scaling`.
RopeConfig read_rope(const ConfigReader& json, int64_t head_dim, double default_theta = 10000.0);
// The same from a table of that kind; the file's top level gives what the table lacks.
RopeConfig read_rope_table(const ConfigReader& table, const ConfigReader& json, int64_t head_dim,
                           double theta);

Activation read_activation(const ConfigReader& json, const char* key, const char* fallback);

}  // namespace sluice::model
