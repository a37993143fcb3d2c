// Phi-3, 3.5 and Phi-4-mini: q, k and v in one tensor, gate and up in another.
#include "base/error.h"
#include "model/families/decoder_config.h"
#include "model/families/family.h"

namespace sluice::model {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  read_decoder(json, config);
  const auto window = json.size_if("sliding_window", kMaxPosition);
  for (auto& layer : config.layers) layer.window = window;
  auto rope = read_rope(json, config.attention.head_dim);
  require<DataError>(rope.type == "default" || rope.type == "longrope", json.where(), ": rope type \"",
                     rope.type, "\" is not one of this family's: default, longrope");
  config.ropes = {std::move(rope)};
}

constexpr WeightNames kNames{.query_key_value = "self_attn.qkv_proj", .gate_up = "mlp.gate_up_proj"};

}  // namespace

const Family kPhi3{.model_type = "phi3",
                   .architecture = "Phi3ForCausalLM",
                   .classifier = "Phi3ForSequenceClassification",
                   .read = read,
                   .names = kNames};

}  // namespace sluice::model
