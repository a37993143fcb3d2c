// Qwen2 and 2.5 (a bias on q, k and v), Qwen3 (a norm of q and k), Qwen3-MoE (experts); windows from some
// layer on.
#include "base/error.h"
#include "model/families/decoder_config.h"
#include "model/families/family.h"

namespace sluice::model {
namespace {

std::optional<int64_t> window_of(const ConfigReader& json) {
  if (!json.flag_or("use_sliding_window", false)) return std::nullopt;
  return json.size_or("sliding_window", 4096, kMaxPosition);
}

void read_dense(const ConfigReader& json, ModelConfig& config) {
  read_decoder(json, config);
  read_windows(
      json, window_of(json), [](int64_t layer, int64_t first) { return layer >= first; },
      json.count_or("max_window_layers", 28, kMaxLayers), config);
  config.ropes = {read_rope(json, config.attention.head_dim)};
}

void read_qwen2(const ConfigReader& json, ModelConfig& config) {
  read_dense(json, config);
  config.attention.qkv_bias = true;
}

void read_qwen3(const ConfigReader& json, ModelConfig& config) {
  read_dense(json, config);
  config.attention.qkv_bias = config.attention.output_bias = json.flag_or("attention_bias", false);
  config.attention.qk_norm = true;
}

void read_experts(const ConfigReader& json, ModelConfig& config) {
  // transformers 5 writes the second name.
  const char* count_key = json.has("num_experts") ? "num_experts" : "num_local_experts";
  config.experts = ExpertsConfig{.num_experts = json.size(count_key, kMaxExperts),
                                 .intermediate_size = json.size("moe_intermediate_size", kMaxWidth),
                                 .router = {.top_k = json.size_or("num_experts_per_tok", 8, kMaxExperts),
                                            .normalise = json.flag_or("norm_topk_prob", false)}};
  const int64_t step = json.size_or("decoder_sparse_step", 1, kMaxLayers);
  for (int64_t i = 0; i < config.num_layers(); ++i) {
    config.layers[static_cast<size_t>(i)].experts = (i + 1) % step == 0;
  }
  if (!json.has("mlp_only_layers")) return;
  for (const int64_t i : json_member<std::vector<int64_t>>(json.json(), "mlp_only_layers", json.where())) {
    require<DataError>(i >= 0 && i < config.num_layers(), json.where(), ": mlp_only_layers has ", i, " of ",
                       config.num_layers(), " layers");
    config.layers[static_cast<size_t>(i)].experts = false;
  }
}

void read_qwen3_moe(const ConfigReader& json, ModelConfig& config) {
  read_decoder(json, config);
  const auto window = window_of(json);  // of every layer here
  for (auto& layer : config.layers) layer.window = window;
  config.attention.qkv_bias = config.attention.output_bias = json.flag_or("attention_bias", false);
  config.attention.qk_norm = true;
  config.ropes = {read_rope(json, config.attention.head_dim)};
  read_experts(json, config);
}

}  // namespace

const Family kQwen2{.model_type = "qwen2",
                    .architecture = "Qwen2ForCausalLM",
                    .classifier = "Qwen2ForSequenceClassification",
                    .read = read_qwen2,
                    .names = {}};
const Family kQwen3{.model_type = "qwen3",
                    .architecture = "Qwen3ForCausalLM",
                    .classifier = "Qwen3ForSequenceClassification",
                    .read = read_qwen3,
                    .names = {}};
const Family kQwen3Moe{.model_type = "qwen3_moe",
                       .architecture = "Qwen3MoeForCausalLM",
                       .classifier = "Qwen3MoeForSequenceClassification",
                       .read = read_qwen3_moe,
                       .names = {}};

}  // namespace sluice::model
