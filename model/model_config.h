// The shape of a network, as config.json of a Hugging Face directory states it.
//
// A family (model/families) reads its own keys into what stands here; the network is built from this alone.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "model/experts.h"
#include "model/operators.h"

namespace sluice::model {

struct Family;

// Rotary frequencies and their scaling (spec section 15).
struct RopeConfig {
  double theta = 10000.0;
  std::string type = "default";  // default | linear | dynamic | yarn | llama3 | longrope
  int64_t rotary_dim = 0;        // numbers of a head that are rotated
  RopeLayout layout = RopeLayout::HalfSplit;
  double factor = 1.0;
  int64_t original_max_position = 0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;     // llama3
  double beta_fast = 32.0, beta_slow = 1.0;                 // yarn
  bool truncate = true;                                     // yarn: whole numbers for the ramp's ends
  double table_scale = 1.0;                                 // yarn, longrope: times cosines and sines
  std::vector<double> short_factor = {}, long_factor = {};  // longrope, [rotary_dim / 2] each

  // Frequencies depend on how long the sequence is (or will be).
  bool depends_on_length() const { return type == "dynamic" || type == "longrope"; }
};

enum class NormKind {
  Rms,         // times the weight
  RmsPlusOne,  // times 1 + the weight (Gemma)
  Layer,       // LayerNorm with a bias
};

struct AttentionConfig {
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  bool qkv_bias = false;
  bool output_bias = false;
  bool qk_norm = false;  // of each head of q and k, before they are rotated
  double scale = 1.0;    // of the scores
  std::optional<double> soft_cap;
};

// Multi-head latent attention (spec section 15.4): used instead of the heads above, but for their number,
// bias and scale.
struct LatentConfig {
  int64_t query_rank = 0;  // 0: queries are not compressed
  int64_t kv_rank = 0;
  int64_t nope_dim = 0;
  int64_t rope_dim = 0;
  int64_t value_dim = 0;
};

struct ExpertsConfig {
  int64_t num_experts = 0;
  int64_t intermediate_size = 0;
  int64_t shared_intermediate_size = 0;  // of the expert that every token goes through; 0: none
  bool selection_bias = false;           // a vector beside the router, for the choice alone
  RouterOptions router;
};

struct LayerConfig {
  std::optional<int64_t> window;   // tokens an attention sees, its own included
  std::optional<size_t> rope = 0;  // which of ModelConfig::ropes; none with learned positions
  bool experts = false;
};

struct ModelConfig {
  const Family* family = nullptr;
  Json source;  // the file as it was read: what is written back, with the values below put in

  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t max_position = 2048;
  bool tie_embeddings = false;
  bool scalar_head = false;  // one score instead of logits: a reward model, a critic
  NormKind norm = NormKind::Rms;
  double norm_eps = 1e-5;
  bool post_norms = false;  // of what attention and feed-forward give, before it is added
  double embedding_scale = 1.0;
  bool learned_positions = false;
  bool gated_mlp = true;
  bool mlp_bias = false;
  Activation activation = Activation::Silu;
  std::optional<double> logit_soft_cap;
  AttentionConfig attention;
  std::optional<LatentConfig> latent;
  std::optional<ExpertsConfig> experts;
  std::vector<RopeConfig> ropes;
  std::vector<LayerConfig> layers;
  std::optional<std::array<int64_t, 2>> float8_block;  // rows and columns that share a scale in F8 tensors

  std::optional<int64_t> bos_id, pad_id;
  std::vector<int64_t> eos_ids;
  Json generation;  // generation_config.json, null when there is none

  int64_t num_layers() const { return static_cast<int64_t>(layers.size()); }
  std::string_view family_name() const;  // "qwen2", the model_type of config.json
};

// Throws DataError naming `where` for an unknown family, rope type or activation and for quantised weights
// that are not read (listing what is), for a missing key and for a size that makes no sense. Sizes are
// bounded before anything is allocated.
ModelConfig model_config_from_json(const Json& json, const std::string& where);
// What transformers reads back, unknown keys kept; `dtype` as torch calls it, "float32".
Json model_config_to_json(const ModelConfig& config, const std::string& dtype);

// The id that `value` of either file's `key` names; null and -1, which some published files have, name none.
// Throws DataError naming `where` for what is no id of the vocabulary.
std::optional<int64_t> checked_token(const Json& value, const char* key, const ModelConfig& config,
                                     const std::string& where);

// config.json of a Llama of these sizes: what a recipe makes from nothing.
struct LlamaShape {
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
  double rope_theta = 10000.0;
  std::optional<int64_t> bos_id, pad_id;
  std::vector<int64_t> eos_ids;
};
ModelConfig llama_config(const LlamaShape& shape);

// Whether the kernels' own forward computes such a network on the CPU: what it decodes has then the same bits
// whatever is decoded with it.
bool kernels_serve(const ModelConfig& config);

}  // namespace sluice::model
