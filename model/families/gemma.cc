// Gemma 2 and 3, text: embeddings times sqrt(d), norms of 1 + w before and after each part, alternating
// windows; Gemma 2 caps scores and logits, Gemma 3 norms q and k and has other frequencies in window layers.
#include <cmath>

#include "base/error.h"
#include "model/families/decoder_config.h"
#include "model/families/family.h"

namespace sluice::model {
namespace {

constexpr int64_t kGemma2Pattern = 2, kGemma3Pattern = 6;  // every so manieth layer sees everything
constexpr double kGlobalTheta = 1e6, kLocalTheta = 1e4;
constexpr size_t kGlobalRope = 0, kLocalRope = 1;

void read_common(const ConfigReader& json, ModelConfig& config, int64_t pattern) {
  read_decoder(json, config, /*tied=*/true);
  config.activation = read_activation(json, "hidden_activation", "gelu_pytorch_tanh");
  config.norm = NormKind::RmsPlusOne;
  config.post_norms = true;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  config.attention.qkv_bias = config.attention.output_bias = json.flag_or("attention_bias", false);
  const double scalar = json.number_or("query_pre_attn_scalar", 256);
  require<DataError>(scalar > 0, json.where(), ": query_pre_attn_scalar is ", scalar);
  config.attention.scale = 1.0 / std::sqrt(scalar);
  for (const auto& cap : {config.attention.soft_cap, config.logit_soft_cap}) {
    require<DataError>(!cap || *cap > 0, json.where(), ": a soft cap is ", cap.value_or(0));
  }
  require<DataError>(!json.flag_or("use_bidirectional_attention", false), json.where(),
                     ": use_bidirectional_attention is true; only causal attention is supported");
  read_windows(
      json, json.size_or("sliding_window", 4096, kMaxPosition),
      [](int64_t layer, int64_t every) { return (layer + 1) % every != 0; }, pattern, config);
}

void read_gemma2(const ConfigReader& json, ModelConfig& config) {
  config.attention.soft_cap = json.number_if("attn_logit_softcapping", 50.0);
  config.logit_soft_cap = json.number_if("final_logit_softcapping", 30.0);
  read_common(json, config, kGemma2Pattern);
  config.ropes = {read_rope(json, config.attention.head_dim)};
}

void read_gemma3(const ConfigReader& json, ModelConfig& config) {
  config.attention.soft_cap = json.number_if("attn_logit_softcapping");
  config.logit_soft_cap = json.number_if("final_logit_softcapping");
  read_common(json, config, json.size_or("sliding_window_pattern", kGemma3Pattern, kMaxLayers));
  config.attention.qk_norm = true;
  const int64_t head_dim = config.attention.head_dim;
  const double local_theta = json.number_or("rope_local_base_freq", kLocalTheta);
  config.ropes.resize(2);
  if (json.has("rope_parameters") && json.object("rope_parameters").has("full_attention")) {
    const auto ropes = json.object("rope_parameters");
    config.ropes[kGlobalRope] = read_rope_table(ropes.object("full_attention"), json, head_dim, kGlobalTheta);
    config.ropes[kLocalRope] =
        read_rope_table(ropes.object("sliding_attention"), json, head_dim, local_theta);
  } else {
    config.ropes[kGlobalRope] = read_rope(json, head_dim, kGlobalTheta);
    config.ropes[kLocalRope] = {.theta = local_theta, .rotary_dim = head_dim};
  }
  for (auto& layer : config.layers) layer.rope = layer.window ? kLocalRope : kGlobalRope;
}

constexpr WeightNames kNames{.attention_post_norm = "post_attention_layernorm",
                             .mlp_norm = "pre_feedforward_layernorm",
                             .mlp_post_norm = "post_feedforward_layernorm"};

}  // namespace

const Family kGemma2{.model_type = "gemma2",
                     .architecture = "Gemma2ForCausalLM",
                     .classifier = "Gemma2ForSequenceClassification",
                     .read = read_gemma2,
                     .names = kNames};
const Family kGemma3{.model_type = "gemma3_text",
                     .architecture = "Gemma3ForCausalLM",
                     .classifier = "Gemma3TextForSequenceClassification",
                     .read = read_gemma3,
                     .names = kNames};

}  // namespace sluice::model
