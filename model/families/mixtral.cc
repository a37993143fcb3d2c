// Mixtral: a Mistral whose feed-forward parts are softmax-routed experts, weights renormalised.
#include "model/families/decoder_config.h"
#include "model/families/family.h"

namespace sluice::model {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  read_decoder(json, config);
  const auto window = json.size_if("sliding_window", kMaxPosition);
  config.ropes = {read_rope(json, config.attention.head_dim, 1e6)};
  config.experts = ExpertsConfig{.num_experts = json.size_or("num_local_experts", 8, kMaxExperts),
                                 .intermediate_size = config.intermediate_size,
                                 .router = {.top_k = json.size_or("num_experts_per_tok", 2, kMaxExperts)}};
  for (auto& layer : config.layers) {
    layer.window = window;
    layer.experts = true;
  }
}

constexpr WeightNames kNames{.router = "block_sparse_moe.gate",
                             .experts = "block_sparse_moe.experts.",
                             .expert_gate = "w1",
                             .expert_up = "w3",
                             .expert_down = "w2"};

}  // namespace

const Family kMixtral{.model_type = "mixtral",
                      .architecture = "MixtralForCausalLM",
                      .classifier = "MixtralForSequenceClassification",
                      .read = read,
                      .names = kNames};

}  // namespace sluice::model
