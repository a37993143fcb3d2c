#include "model/memory_plan.h"

#include <algorithm>

#include "base/error.h"
#include "model/internal/block.h"
#include "model/internal/raw_operators.h"
#include "model/network.h"

namespace sluice::model {
namespace {

constexpr int64_t kFloatBytes = 4;

CacheLayout cache_layout(const ModelConfig& config) {
  CacheLayout layout;
  for (int64_t i = 0; i < config.num_layers(); ++i) {
    Parameters declared;
    layout.push_back(Block(declared, config, i).cache());
  }
  return layout;
}

int64_t numbers_per_token(const std::vector<CacheRow>& layer) {
  int64_t numbers = 0;
  for (const auto& row : layer) numbers += row.width;
  return numbers;
}

int64_t attention_numbers(const ModelConfig& config) {
  const auto& a = config.attention;
  if (!config.latent) {
    const int64_t qkv = (a.num_heads + 2 * a.num_kv_heads) * a.head_dim;
    return (a.qk_norm ? 2 : 1) * qkv + a.num_heads * (a.head_dim + 2);
  }
  const auto& l = *config.latent;
  return 2 * l.query_rank + 2 * l.kv_rank + l.rope_dim +
         a.num_heads * (2 * (l.nope_dim + l.rope_dim) + l.nope_dim + 2 * l.value_dim);
}

int64_t feed_forward_numbers(const ModelConfig& config, const LayerConfig& layer) {
  if (!layer.experts) return (config.gated_mlp ? 3 : 2) * config.intermediate_size;
  const auto& e = *config.experts;
  return e.router.top_k * (2 * config.hidden_size + 3 * e.intermediate_size) + e.num_experts +
         3 * e.shared_intermediate_size;
}

// Of one row in one layer.
int64_t layer_numbers(const ModelConfig& config, const LayerConfig& layer) {
  return (config.post_norms ? 6 : 4) * config.hidden_size + attention_numbers(config) +
         feed_forward_numbers(config, layer);
}

int64_t activation_bytes(const ModelConfig& config, const MemoryUse& use, int64_t largest_matrix) {
  int64_t all = 0, widest = 0;
  for (const auto& layer : config.layers) {
    const int64_t numbers = layer_numbers(config, layer);
    all += numbers;
    widest = std::max(widest, numbers);
  }
  const bool gpu_trains = use.trains && !use.device.is_cpu();
  const int64_t logits = config.scalar_head || use.rows == 0
                             ? use.rows
                             : raw::logits_at_once(use.device, use.rows, config.vocab_size);
  const int64_t kept = use.checkpoints ? 2 * widest + config.num_layers() * config.hidden_size : all;
  int64_t numbers =
      use.rows * ((use.trains ? kept : widest) + config.hidden_size) + logits * (gpu_trains ? 2 : 1);
  if (use.trains || use.offloaded || use.weight_type != at::kFloat) numbers += largest_matrix;
  return numbers * kFloatBytes;
}

// All matrices, and the embedding where it is the output head too.
int64_t packed_numbers(const Parameters& declared, const ModelConfig& config) {
  int64_t numbers = config.tie_embeddings ? declared.slots().front().count : 0;
  for (const auto& slot : declared.slots()) {
    if (slot.kind == ParameterKind::Matrix) numbers += slot.count;
  }
  return numbers;
}

}  // namespace

MemoryPlan plan_memory(const ModelConfig& config, const MemoryUse& use) {
  require(use.rows >= 0 && use.sequences >= 0 && use.sequence_tokens >= 0, "plan_memory: ", use.rows,
          " rows, ", use.sequences, " sequences of ", use.sequence_tokens, " tokens");
  const auto declared = Network::declare(config);
  int64_t largest = 0;
  for (const auto& slot : declared.slots()) largest = std::max(largest, slot.count);

  MemoryPlan plan{.parameters = declared.num_numbers()};
  for (int64_t i = 0; i < config.num_layers(); ++i) {
    Parameters alone;
    const int64_t numbers = Block(alone, config, i).numbers().count;
    plan.of_blocks += numbers;
    plan.of_largest_block = std::max(plan.of_largest_block, numbers);
  }
  plan.weights = plan.parameters * static_cast<int64_t>(c10::elementSize(use.weight_type));
  if (use.packed_type) {
    const auto size = static_cast<int64_t>(c10::elementSize(*use.packed_type));
    plan.packed = packed_numbers(declared, config) * size;
  }
  int64_t trained = plan.parameters;
  if (use.lora) {
    trained = Network::declare_adapter(config, *use.lora).num_numbers();
    plan.weights += trained * kFloatBytes;
  }
  if (use.trains) {
    plan.gradients = trained * kFloatBytes;
    plan.optimizer = 2 * trained * kFloatBytes;
  }
  const auto number = static_cast<int64_t>(c10::elementSize(use.cache_type));
  for (const auto& layer : cache_layout(config)) {
    const int64_t token = numbers_per_token(layer) * number;
    plan.cache_per_token += token;
    plan.cache += token * use.sequences * use.sequence_tokens;
  }
  if (use.offloaded) {
    plan.weights = (plan.parameters - plan.of_blocks + plan.of_largest_block) * kFloatBytes;
    plan.packed = 0;
  }
  plan.activations = activation_bytes(config, use, largest);
  return plan;
}

}  // namespace sluice::model
