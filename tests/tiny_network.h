// A network small enough that a test trains it in milliseconds.
#pragma once

#include <memory>

#include "model/model_directory.h"
#include "model/network.h"

namespace sluice {

inline model::ModelConfig tiny_config() {
  model::LlamaShape config;
  config.vocab_size = 23;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_layers = 2;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 8;
  config.max_position = 64;
  config.eos_ids = {2};
  return model::llama_config(config);
}

// One with experts of a router, from the goldens.
inline std::unique_ptr<model::Network> tiny_mixtral() {
  return model::load_model(SLUICE_SOURCE_DIR "/data/goldens/mixtral", at::kCPU);
}

inline std::unique_ptr<model::Network> tiny_network(uint64_t seed = 7) {
  auto network = std::make_unique<model::Network>(tiny_config(), at::kCPU);
  network->init(seed);
  return network;
}

}  // namespace sluice
