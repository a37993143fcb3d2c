// The shape of a network, as config.json of a Hugging Face directory states it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace sluice::model {

// Rotary frequencies and their scaling (spec section 15); `type` is "default", "linear" or "llama3".
struct RopeConfig {
  double theta = 10000.0;
  std::string type = "default";
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position = 8192;
};

struct ModelConfig {
  std::string model_type = "llama";
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position = 2048;
  double rms_norm_eps = 1e-5;
  bool tie_embeddings = false;
  RopeConfig rope;
  std::optional<int64_t> bos_id, pad_id;
  std::vector<int64_t> eos_ids;

  int64_t num_parameters() const;
};

// Throws DataError naming `where` for an unknown family or rope type (listing those there are), a missing key
// or a size that makes no sense. Sizes are bounded before anything is allocated.
ModelConfig model_config_from_json(const Json& json, const std::string& where);
// What transformers reads back.
Json model_config_to_json(const ModelConfig& config);

}  // namespace sluice::model
