// GPT-2: LayerNorm, learned positions, biases everywhere, matrices stored [in, out].
#include <cmath>

#include "base/error.h"
#include "model/families/decoder_config.h"
#include "model/families/family.h"

namespace sluice::model {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  config.vocab_size = json.size("vocab_size", kMaxVocab);
  config.hidden_size = json.size("n_embd", kMaxWidth);
  config.intermediate_size = json.size_or("n_inner", 4 * config.hidden_size, kMaxWidth);
  config.layers.resize(static_cast<size_t>(json.size("n_layer", kMaxLayers)));
  for (auto& layer : config.layers) layer.rope = std::nullopt;
  config.max_position = json.size_or("n_positions", 1024, kMaxPosition);
  config.learned_positions = true;
  config.norm = NormKind::Layer;
  config.norm_eps = json.number_or("layer_norm_epsilon", 1e-5);
  config.tie_embeddings = json.flag_or("tie_word_embeddings", true);
  config.activation = read_activation(json, "activation_function", "gelu_new");
  config.gated_mlp = false;
  config.mlp_bias = true;

  auto& attention = config.attention;
  attention.num_heads = attention.num_kv_heads = json.size("n_head", kMaxHeads);
  require<DataError>(config.hidden_size % attention.num_heads == 0, json.where(), ": n_embd ",
                     config.hidden_size, " is no multiple of n_head ", attention.num_heads);
  attention.head_dim = config.hidden_size / attention.num_heads;
  attention.qkv_bias = attention.output_bias = true;
  attention.scale = json.flag_or("scale_attn_weights", true)
                        ? 1.0 / std::sqrt(static_cast<double>(attention.head_dim))
                        : 1.0;
  for (const char* key : {"scale_attn_by_inverse_layer_idx", "add_cross_attention"}) {
    require<DataError>(!json.flag_or(key, false), json.where(), ": ", key,
                       " is true, which is not supported");
  }
}

// Older files hold the causal mask of each layer.
std::string skip_masks(const std::string& tensor, const ModelConfig&) {
  const bool mask = tensor.ends_with(".attn.bias") || tensor.ends_with(".attn.masked_bias");
  return mask ? "causal masks of old files are not loaded" : "";
}

constexpr WeightNames kNames{.embedding = "transformer.wte",
                             .positions = "transformer.wpe",
                             .layers = "transformer.h.",
                             .last_norm = "transformer.ln_f",
                             .attention_norm = "ln_1",
                             .query_key_value = "attn.c_attn",
                             .attention_output = "attn.c_proj",
                             .mlp_norm = "ln_2",
                             .up = "mlp.c_fc",
                             .down = "mlp.c_proj",
                             .transposed = true};

}  // namespace

const Family kGpt2{.model_type = "gpt2",
                   .architecture = "GPT2LMHeadModel",
                   .classifier = "GPT2ForSequenceClassification",
                   .read = read,
                   .names = kNames,
                   .skipped = skip_masks,
                   .base_prefix = "transformer."};

}  // namespace sluice::model
