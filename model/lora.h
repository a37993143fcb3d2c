// Adapters of low rank (LoRA 2021; spec section 14): y = W x + scale * B A x, of which A and B are trained.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sluice::model {

class Network;

struct LoraConfig {
  int64_t rank = 8;
  double alpha = 8.0;
  bool rslora = false;  // scale alpha / sqrt(rank) instead of alpha / rank
  // Ends of matrix names, "q_proj" or "layers.0.self_attn.q_proj"; empty: all that can be adapted, which is
  // attention and feed-forward, or attention alone in a network with experts: PEFT takes the names of the
  // feed-forward there for those of the experts.
  std::vector<std::string> targets = {};

  double scale() const;
};

// Writes a PEFT adapter directory: adapter_config.json and adapter_model.safetensors, float32. `base` is what
// it names as the model it belongs to.
void save_adapter(const std::filesystem::path& directory, const Network& network, const std::string& base);
// Adds the adapter of such a directory to a network that has none. Dropout, which is for training with PEFT,
// is passed over. Throws DataError naming the file for any other setting that is not read (DoRA, biases,
// embeddings, ranks by pattern, ...) and for a missing, extra or misshapen tensor.
void load_adapter(const std::filesystem::path& directory, Network& network);

}  // namespace sluice::model
