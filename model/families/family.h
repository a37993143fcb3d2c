// What sets one family of networks apart: how its config.json reads and what its tensors are called.
//
// The network itself is built from the ModelConfig that read() fills in; nothing else asks for the family.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "model/families/config_reader.h"
#include "model/model_config.h"

namespace sluice::model {

// Names in the checkpoint, ".weight" and ".bias" left out; "" for what the family does not have. Those of a
// layer follow `layers` and its number.
struct WeightNames {
  std::string_view embedding = "model.embed_tokens";
  std::string_view positions = "";
  std::string_view layers = "model.layers.";
  std::string_view last_norm = "model.norm";
  std::string_view head = "lm_head";
  std::string_view score = "score";  // the head of a classifier

  std::string_view attention_norm = "input_layernorm";
  std::string_view query = "self_attn.q_proj";
  std::string_view key = "self_attn.k_proj";
  std::string_view value = "self_attn.v_proj";
  std::string_view query_key_value = "";  // the three in one tensor
  std::string_view query_norm = "self_attn.q_norm";
  std::string_view key_norm = "self_attn.k_norm";
  std::string_view attention_output = "self_attn.o_proj";
  std::string_view attention_post_norm = "";

  // Latent attention, beside `query` where queries are not compressed and `attention_output`.
  std::string_view query_down = "self_attn.q_a_proj";
  std::string_view query_down_norm = "self_attn.q_a_layernorm";
  std::string_view query_up = "self_attn.q_b_proj";
  std::string_view key_value_down = "self_attn.kv_a_proj_with_mqa";
  std::string_view key_value_down_norm = "self_attn.kv_a_layernorm";
  std::string_view key_value_up = "self_attn.kv_b_proj";

  std::string_view mlp_norm = "post_attention_layernorm";
  std::string_view gate = "mlp.gate_proj";
  std::string_view up = "mlp.up_proj";
  std::string_view gate_up = "";  // the two in one tensor
  std::string_view down = "mlp.down_proj";
  std::string_view mlp_post_norm = "";

  std::string_view router = "mlp.gate";
  std::string_view selection_bias = "mlp.gate.e_score_correction_bias";  // a whole name
  std::string_view experts = "mlp.experts.";  // then the expert's number and one of the next three
  std::string_view expert_gate = "gate_proj";
  std::string_view expert_up = "up_proj";
  std::string_view expert_down = "down_proj";
  std::string_view shared_experts = "mlp.shared_experts.";

  bool transposed = false;  // matrices of the layers are stored [in, out]
};

struct Family {
  std::string_view model_type;    // of config.json
  std::string_view architecture;  // the same as a class of transformers
  std::string_view classifier;    // and the one that has a score in place of logits
  void (*read)(const ConfigReader& json, ModelConfig& config);
  WeightNames names;
  // Why a tensor that is no part of the network may be left out, a sentence for the person who loads it; ""
  // when it may not.
  std::string (*skipped)(const std::string& tensor, const ModelConfig& config) = nullptr;
  // What some files leave off the front of every name.
  std::string_view base_prefix = "";
};

extern const Family kLlama, kQwen2, kQwen3, kMistral, kGemma2, kGemma3, kMixtral, kQwen3Moe, kDeepseekV2,
    kDeepseekV3, kPhi3, kGpt2;

// All of them, in the order of docs/models.md.
std::span<const Family* const> families();
// Throws DataError naming `where` and listing the families for a model_type that is none of theirs, or an
// architecture that is not one of its model_type.
const Family& find_family(const ConfigReader& json);
bool is_classifier(const Family& family, const ConfigReader& json);

}  // namespace sluice::model
