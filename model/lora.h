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
  // Last parts of matrix names, "q_proj"; empty: every matrix of attention and feed-forward, experts left
  // out.
  std::vector<std::string> targets;

  double scale() const;
};

// A PEFT adapter directory: adapter_config.json and adapter_model.safetensors. `base` is what it names as the
// model it belongs to.
void save_adapter(const std::filesystem::path& directory, const Network& network, const std::string& base);
// Adds the adapter of such a directory to a network that has none. Throws DataError naming the file for
// settings that are not read (dropout aside, DoRA, biases, embeddings, ...) and for a missing, extra or
// misshapen tensor.
void load_adapter(const std::filesystem::path& directory, Network& network);

}  // namespace sluice::model
