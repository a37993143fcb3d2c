// Mistral: a Llama whose layers all see a sliding window, unless the file says null.
#include "model/families/decoder_config.h"
#include "model/families/family.h"

namespace sluice::model {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  read_decoder(json, config);
  const auto window = json.size_if("sliding_window", 4096, kMaxPosition);
  for (auto& layer : config.layers) layer.window = window;
  config.ropes = {read_rope(json, config.attention.head_dim)};
}

}  // namespace

const Family kMistral{.model_type = "mistral",
                      .architecture = "MistralForCausalLM",
                      .classifier = "MistralForSequenceClassification",
                      .read = read,
                      .names = {}};

}  // namespace sluice::model
