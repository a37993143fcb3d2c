#include "model/internal/attention_layer.h"

#include <ATen/ATen.h>

#include "model/families/family.h"
#include "model/internal/implementations.h"
#include "model/operators.h"

namespace sluice::model {
namespace {

class GroupedAttention : public AttentionLayer {
 public:
  GroupedAttention(Parameters& parameters, const ModelConfig& config, int64_t index,
                   const std::string& prefix)
      : config_(config.attention), layer_(config.layers[static_cast<size_t>(index)]), index_(index) {
    const auto& names = config.family->names;
    const int64_t queries = config_.num_heads * config_.head_dim,
                  keys = config_.num_kv_heads * config_.head_dim;
    const auto named = [&](std::string_view name) { return prefix + std::string(name); };
    std::vector<LinearPart> parts;
    if (names.query_key_value.empty()) {
      parts = {{named(names.query), queries}, {named(names.key), keys}, {named(names.value), keys}};
    } else {
      parts = {{named(names.query_key_value), queries + 2 * keys}};
    }
    qkv_ = Linear(parameters, parts,
                  {.in = config.hidden_size, .bias = config_.qkv_bias, .transposed = names.transposed});
    if (config_.qk_norm) {
      q_norm_ = Norm(parameters, named(names.query_norm), config_.head_dim, config.norm, config.norm_eps);
      k_norm_ = Norm(parameters, named(names.key_norm), config_.head_dim, config.norm, config.norm_eps);
    }
    output_ = Linear(parameters, {{named(names.attention_output), config.hidden_size}},
                     {.in = queries, .bias = config_.output_bias, .transposed = names.transposed});
  }

  void bind(Parameters& parameters) override {
    qkv_.bind(parameters);
    if (q_norm_) q_norm_.bind(parameters);
    if (k_norm_) k_norm_.bind(parameters);
    output_.bind(parameters);
  }

  std::vector<CacheRow> cache() const override {
    const int64_t width = config_.num_kv_heads * config_.head_dim;
    return {{"k", width}, {"v", width}};
  }

  void describe(cpu::TransformerLayer& layer, RawVectors& vectors) const override {
    layer.qkv = qkv_.describe(vectors);
    layer.output = output_.describe(vectors);
    if (q_norm_) layer.q_norm = q_norm_.describe(vectors);
    if (k_norm_) layer.k_norm = k_norm_.describe(vectors);
    layer.window = layer_.window.value_or(0);
  }

  std::vector<Linear*> linears() override { return {&qkv_, &output_}; }

  at::Tensor forward(const at::Tensor& x, Pass& pass) const override {
    const int64_t rows = x.size(0), heads = config_.num_heads, kv_heads = config_.num_kv_heads;
    auto qkv = qkv_(x).view({rows, heads + 2 * kv_heads, config_.head_dim});
    if (config_.qk_norm) qkv = normed(qkv);
    auto [q, k, v] = split_heads(rotated(qkv, pass), heads, kv_heads);
    if (pass.has_cache()) {
      const auto keys = pass.keep(index_, "k", k);
      const auto values = pass.keep(index_, "v", v);
      if (!pass.starts()) {
        k = keys;
        v = values;
      }
    }
    const auto out = attended(
        q, k, v, pass.plan(layer_.window),
        {.scale = config_.scale, .window = pass.mask_window(layer_.window), .soft_cap = config_.soft_cap});
    return output_(out.view({rows, heads * config_.head_dim}));
  }

 private:
  // Where a GPU has a kernel for it, what products round is rounded for attention too.
  at::Tensor attended(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const std::shared_ptr<const AttentionPlan>& plan,
                      const AttentionOptions& options) const {
    const auto type = qkv_.weight().all.rounds_rows_to();
    if (!type || !raw::cuda::takes_attention(q, v, options)) return attention(q, k, v, plan, options);
    const auto narrow = [&](const at::Tensor& x) { return x.to(*type); };
    return attention(narrow(q), narrow(k), narrow(v), plan, options).to(q.scalar_type());
  }

  at::Tensor normed(const at::Tensor& qkv) const {
    const int64_t heads = config_.num_heads, kv_heads = config_.num_kv_heads;
    return at::cat({q_norm_(qkv.narrow(1, 0, heads)), k_norm_(qkv.narrow(1, heads, kv_heads)),
                    qkv.narrow(1, heads + kv_heads, kv_heads)},
                   1);
  }

  at::Tensor rotated(const at::Tensor& qkv, const Pass& pass) const {
    if (!layer_.rope) return qkv;
    const auto& [cos, sin, positions] = pass.rope(*layer_.rope);
    return rope(qkv, cos, sin, positions, config_.num_heads + config_.num_kv_heads);
  }

  const AttentionConfig config_;
  const LayerConfig layer_;
  const int64_t index_;
  Linear qkv_, output_;
  Norm q_norm_, k_norm_;
};

}  // namespace

std::unique_ptr<AttentionLayer> make_attention(Parameters& parameters, const ModelConfig& config,
                                               int64_t index, const std::string& prefix) {
  if (config.latent) return make_latent_attention(parameters, config, index, prefix);
  return std::make_unique<GroupedAttention>(parameters, config, index, prefix);
}

}  // namespace sluice::model
