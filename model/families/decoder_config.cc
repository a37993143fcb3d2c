#include "model/families/decoder_config.h"

#include <cmath>
#include <map>

#include "base/error.h"
#include "base/quoted_name.h"

namespace sluice::model {

Activation read_activation(const ConfigReader& json, const char* key, const char* fallback) {
  static const std::map<std::string, Activation> kActivations = {{"silu", Activation::Silu},
                                                                 {"swish", Activation::Silu},
                                                                 {"gelu", Activation::Gelu},
                                                                 {"gelu_new", Activation::GeluTanh},
                                                                 {"gelu_pytorch_tanh", Activation::GeluTanh}};
  const auto name = json.text_or(key, fallback);
  const auto found = kActivations.find(name);
  require<DataError>(found != kActivations.end(), json.where(), ": ", key, " ", quoted_name(name),
                     " is not supported; those that are: silu, gelu, gelu_new, gelu_pytorch_tanh");
  return found->second;
}

void read_decoder(const ConfigReader& json, ModelConfig& config, bool tied) {
  config.vocab_size = json.size("vocab_size", kMaxVocab);
  config.hidden_size = json.size("hidden_size", kMaxWidth);
  config.intermediate_size = json.size("intermediate_size", kMaxWidth);
  config.layers.resize(static_cast<size_t>(json.size("num_hidden_layers", kMaxLayers)));
  config.max_position = json.size_or("max_position_embeddings", config.max_position, kMaxPosition);
  config.norm_eps = json.number_or("rms_norm_eps", 1e-6);
  config.tie_embeddings = json.flag_or("tie_word_embeddings", tied);
  config.activation = read_activation(json, "hidden_act", "silu");

  auto& attention = config.attention;
  attention.num_heads = json.size("num_attention_heads", kMaxHeads);
  attention.num_kv_heads = json.size_or("num_key_value_heads", attention.num_heads, kMaxHeads);
  require<DataError>(json.has("head_dim") || config.hidden_size >= attention.num_heads, json.where(),
                     ": hidden_size ", config.hidden_size, " gives num_attention_heads ", attention.num_heads,
                     " no width each");
  attention.head_dim = json.size_or("head_dim", config.hidden_size / attention.num_heads, kMaxHeadDim);
  attention.scale = 1.0 / std::sqrt(static_cast<double>(attention.head_dim));
  require<DataError>(attention.num_heads % attention.num_kv_heads == 0, json.where(),
                     ": num_attention_heads ", attention.num_heads, " is no multiple of num_key_value_heads ",
                     attention.num_kv_heads);
}

void read_windows(const ConfigReader& json, std::optional<int64_t> window,
                  bool (*slides)(int64_t layer, int64_t pattern), int64_t pattern, ModelConfig& config) {
  if (!json.has("layer_types")) {
    for (int64_t i = 0; i < config.num_layers(); ++i) {
      if (slides(i, pattern)) config.layers[static_cast<size_t>(i)].window = window;
    }
    return;
  }
  const auto types = json_member<std::vector<std::string>>(json.json(), "layer_types", json.where());
  require<DataError>(std::ssize(types) == config.num_layers(), json.where(), ": layer_types has ",
                     types.size(), " entries for ", config.num_layers(), " layers");
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] == "sliding_attention") {
      require<DataError>(window.has_value(), json.where(),
                         ": layer_types has sliding_attention, and there is", " no sliding_window");
      config.layers[i].window = window;
    } else {
      require<DataError>(types[i] == "full_attention", json.where(), ": layer type ", quoted_name(types[i]),
                         " is not supported; those that are: full_attention, sliding_attention");
    }
  }
}

}  // namespace sluice::model
