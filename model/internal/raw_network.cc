#include "model/internal/raw_network.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "model/internal/network_layers.h"
#include "model/internal/raw_operators.h"

namespace sluice::model {

const float* RawVectors::add(const at::Tensor& x) {
  kept_.push_back(x.detach().to(at::kFloat).contiguous());
  return kept_.back().const_data_ptr<float>();
}

cpu::Product describe_product(const Weight& weight) {
  return {.panels = weight.packed.const_data_ptr(),
          .type = raw::type_of_packed(weight.packed),
          .scales = weight.scales.defined() ? weight.scales.const_data_ptr<float>() : nullptr,
          .depth = weight.rows.size(1),
          .columns = weight.rows.size(0)};
}

bool kernels_serve(const ModelConfig& config) {
  return !config.scalar_head && !config.latent && !config.experts && !config.learned_positions &&
         config.gated_mlp && config.norm != NormKind::Layer && config.activation != Activation::Gelu &&
         config.attention.head_dim % cpu::kHeadDimStep == 0 &&
         std::ranges::none_of(config.ropes, &RopeConfig::depends_on_length);
}

// Weights that change, or have no packed copy, have no raw view.
void Network::Layers::describe(const Parameters& parameters, const ModelConfig& config, const Weight& head) {
  raw.reset();
  if (!parameters.constant() || !head.packed.defined() || !kernels_serve(config)) return;
  raw.emplace();
  auto& all = raw->transformer;
  const auto& table = embedding(parameters);
  all = {.hidden = config.hidden_size,
         .heads = config.attention.num_heads,
         .kv_heads = config.attention.num_kv_heads,
         .head_dim = config.attention.head_dim,
         .mlp_width = config.intermediate_size,
         .vocab = config.vocab_size,
         .norm_eps = static_cast<float>(config.norm_eps),
         .attention_scale = static_cast<float>(config.attention.scale),
         .attention_soft_cap = static_cast<float>(config.attention.soft_cap.value_or(0.0)),
         .logit_soft_cap = static_cast<float>(config.logit_soft_cap.value_or(0.0)),
         .embedding_scale = static_cast<float>(config.embedding_scale),
         .gelu = config.activation == Activation::GeluTanh,
         .rounds_to = raw::number_type(head.rounds_rows_to()),
         .table = table.const_data_ptr(),
         .table_halves = table.scalar_type() == at::kBFloat16,
         .last_norm = last_norm.describe(raw->vectors),
         .head = describe_product(head),
         .layers = {}};
  for (const Block& block : blocks) block.describe(all.layers.emplace_back(), raw->vectors);
}

void Network::Layers::reach(const ModelConfig& config, int64_t max_position) {
  if (max_position < raw->rope_positions) return;
  int64_t reached = config.max_position;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (!config.layers[i].rope) continue;
    const auto [cos, sin] = ropes[*config.layers[i].rope].reaching(max_position);
    auto& layer = raw->transformer.layers[i];
    layer.cos = cos.const_data_ptr<float>();
    layer.sin = sin.const_data_ptr<float>();
    layer.rope_half = cos.size(1);
    reached = std::min(reached, cos.size(0));
  }
  raw->rope_positions = reached;
}

const cpu::Transformer* Network::transformer(int64_t max_position) const {
  if (!layers_->raw) return nullptr;
  require(max_position < config_.max_position, "network: a position must be in 0 .. ",
          config_.max_position - 1, ", saw ", max_position);
  layers_->reach(config_, max_position);
  return &layers_->raw->transformer;
}

}  // namespace sluice::model
