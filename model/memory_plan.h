// What a network takes in memory, part by part, worked out before anything of its size is allocated.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "model/kv_cache.h"
#include "model/lora.h"
#include "model/model_config.h"

namespace sluice::model {

// What one process does with the network.
struct MemoryUse {
  at::Device device = at::kCPU;
  at::ScalarType weight_type = at::kFloat;
  at::ScalarType cache_type = at::kFloat;
  bool trains = false;
  bool checkpoints = false;  // Network::checkpoint_blocks()
  bool offloaded = false;    // OffloadedNetwork: on a GPU's host its weights are another's
  // Of the copy that products read, of a network that is frozen (Network::freeze, map) and on a CPU.
  std::optional<at::ScalarType> packed_type = {};
  std::optional<LoraConfig> lora = {};  // adapters of float32 beside the weights: what is trained then
  int64_t rows = 0;                     // of one packed forward, at most
  int64_t sequences = 0;                // in the cache at once; 0: no cache
  int64_t sequence_tokens = 0;          // that the cache has room for in each
};

// All in bytes. Weights, gradients, moments and cache are exact; `activations` is an estimate:
//
// With gradients, the numbers that the backward of each layer keeps for a row, or with checkpoints the input
// of each layer and twice the numbers of the widest one, for their gradients; without, those of the widest
// layer. All times `rows` and 4 bytes. With h hidden, H heads and K key heads of width d, I intermediate:
//   norms and residual stream  4 h, with norms after attention and feed-forward 6 h
//   attention                  (H + 2 K) d, twice that with norms of q and k, + H d + 2 H
//   latent attention           2 query_rank + 2 kv_rank + rope + 2 H (nope + rope) + H (nope + 2 value)
//   feed-forward               3 I, without a gate 2 I
//   experts                    top_k (2 h + 3 I_expert) + num_experts + 3 I_shared
// and beside the layers the hidden states and one chunk of logits, on a GPU that trains with its gradients,
// and, where weights are trained, widened or brought, one more copy of the largest matrix in float32.
struct MemoryPlan {
  int64_t parameters = 0;  // numbers, not bytes
  int64_t of_blocks = 0;   // of them, those that lie in the network's blocks,
  int64_t of_largest_block = 0;
  int64_t weights = 0;    // adapters among them
  int64_t packed = 0;     // the copy of the matrices that products read; panels that are not full left out
  int64_t gradients = 0;  // float32
  int64_t optimizer = 0;  // AdamW's two moments, float32
  int64_t cache_per_token = 0;  // of all layers, as long as none has forgotten a token
  int64_t cache = 0;            // a layer with a window keeps no more than its ring
  int64_t activations = 0;

  int64_t total() const { return weights + packed + gradients + optimizer + cache + activations; }
};

MemoryPlan plan_memory(const ModelConfig& config, const MemoryUse& use);

}  // namespace sluice::model
