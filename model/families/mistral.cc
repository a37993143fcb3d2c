// Mistral: a Llama whose layers all see a sliding window, where the file states one.
#include "model/families/decoder_config.h"
#include "model/families/family.h"

namespace sluice::model {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  read_decoder(json, config);
  const auto window = json.size_if("sliding_window", kMaxPosition);
  for (auto& layer : config.layers) layer.window = window;
  config.ropes = {read_rope(json, config.attention.head_dim)};
}

}  // namespace

const Family kMistral{
    .model_type = "mistral", .architecture = "MistralForCausalLM", .read = read, .names = {}};

}  // namespace sluice::model
