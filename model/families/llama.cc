// Llama 2, 3 and 3.1, and what is built like them.
#include "model/families/decoder_config.h"
#include "model/families/family.h"

namespace sluice::model {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  read_decoder(json, config);
  config.attention.qkv_bias = config.attention.output_bias = json.flag_or("attention_bias", false);
  config.mlp_bias = json.flag_or("mlp_bias", false);
  config.ropes = {read_rope(json, config.attention.head_dim)};
}

}  // namespace

const Family kLlama{.model_type = "llama",
                    .architecture = "LlamaForCausalLM",
                    .classifier = "LlamaForSequenceClassification",
                    .read = read,
                    .names = {}};

}  // namespace sluice::model
