// Multi-head latent attention (DeepSeek-V2 2024; spec section 15.4).
//
// A batch that starts computes every head's keys and values. One that goes on in a cache has only the latent
// vectors: the projection of the keys is absorbed into the queries, that of the values into the result.
#include <ATen/ATen.h>

#include "model/families/family.h"
#include "model/internal/attention_layer.h"
#include "model/operators.h"

namespace sluice::model {
namespace {

class LatentAttention : public AttentionLayer {
 public:
  LatentAttention(Parameters& parameters, const ModelConfig& config, int64_t index, const std::string& prefix)
      : heads_(config.attention.num_heads),
        scale_(config.attention.scale),
        shape_(*config.latent),
        layer_(config.layers[static_cast<size_t>(index)]),
        rope_layout_(config.ropes.front().layout),
        index_(index) {
    const auto& names = config.family->names;
    const auto named = [&](std::string_view name) { return prefix + std::string(name); };
    const bool bias = config.attention.qkv_bias;
    const int64_t hidden = config.hidden_size, query = heads_ * (shape_.nope_dim + shape_.rope_dim);
    if (shape_.query_rank > 0) {
      q_down_ =
          Linear(parameters, {{named(names.query_down), shape_.query_rank}}, {.in = hidden, .bias = bias});
      q_norm_ = Norm(parameters, named(names.query_down_norm), shape_.query_rank, config.norm, kNormEps);
      q_up_ = Linear(parameters, {{named(names.query_up), query}}, {.in = shape_.query_rank});
    } else {
      q_up_ = Linear(parameters, {{named(names.query), query}}, {.in = hidden});
    }
    kv_down_ = Linear(parameters, {{named(names.key_value_down), shape_.kv_rank + shape_.rope_dim}},
                      {.in = hidden, .bias = bias});
    kv_norm_ = Norm(parameters, named(names.key_value_down_norm), shape_.kv_rank, config.norm, kNormEps);
    kv_up_ = Linear(parameters, {{named(names.key_value_up), heads_ * (shape_.nope_dim + shape_.value_dim)}},
                    {.in = shape_.kv_rank});
    output_ = Linear(parameters, {{named(names.attention_output), hidden}},
                     {.in = heads_ * shape_.value_dim, .bias = config.attention.output_bias});
  }

  void bind(Parameters& parameters) override {
    for (Linear* linear : linears()) linear->bind(parameters);
    if (q_norm_) q_norm_.bind(parameters);
    kv_norm_.bind(parameters);
  }

  std::vector<CacheRow> cache() const override { return {{"latent", shape_.kv_rank + shape_.rope_dim}}; }

  std::vector<Linear*> linears() override {
    if (shape_.query_rank == 0) return {&q_up_, &kv_down_, &kv_up_, &output_};
    return {&q_down_, &q_up_, &kv_down_, &kv_up_, &output_};
  }

  at::Tensor forward(const at::Tensor& x, Pass& pass) const override {
    const int64_t rows = x.size(0);
    const auto& [cos, sin, positions] = pass.rope(*layer_.rope);
    const auto rotate = [&, cos = cos, sin = sin, positions = positions](const at::Tensor& heads) {
      return rope(heads, cos, sin, positions, heads.size(1), rope_layout_);
    };
    const auto q = q_up_(shape_.query_rank > 0 ? q_norm_(q_down_(x)) : x).view({rows, heads_, -1});
    const auto q_nope = q.narrow(2, 0, shape_.nope_dim);
    const auto q_rope = rotate(q.narrow(2, shape_.nope_dim, shape_.rope_dim));
    const auto down = kv_down_(x);
    const auto latent = kv_norm_(down.narrow(1, 0, shape_.kv_rank));
    const auto k_rope = rotate(down.narrow(1, shape_.kv_rank, shape_.rope_dim).unsqueeze(1));

    at::Tensor kept;  // [slots, 1, kv_rank + rope_dim]
    if (pass.has_cache()) {
      kept = pass.keep(index_, "latent", at::cat({latent.unsqueeze(1), k_rope}, 2));
    }
    const auto out =
        pass.starts() ? expanded(q_nope, q_rope, latent, k_rope, pass) : absorbed(q_nope, q_rope, kept, pass);
    return output_(out.reshape({rows, heads_ * shape_.value_dim}));
  }

 private:
  // Whatever rms_norm_eps says: what the published networks were trained with.
  static constexpr double kNormEps = 1e-6;

  at::Tensor expanded(const at::Tensor& q_nope, const at::Tensor& q_rope, const at::Tensor& latent,
                      const at::Tensor& k_rope, Pass& pass) const {
    const int64_t rows = latent.size(0);
    const auto up = kv_up_(latent).view({rows, heads_, shape_.nope_dim + shape_.value_dim});
    const auto keys =
        at::cat({up.narrow(2, 0, shape_.nope_dim), k_rope.expand({rows, heads_, shape_.rope_dim})}, 2);
    const auto values = up.narrow(2, shape_.nope_dim, shape_.value_dim);
    return attention(at::cat({q_nope, q_rope}, 2), keys, values, pass.plan(std::nullopt), {.scale = scale_});
  }

  at::Tensor absorbed(const at::Tensor& q_nope, const at::Tensor& q_rope, const at::Tensor& kept,
                      Pass& pass) const {
    const auto up = kv_up_.merged().view({heads_, shape_.nope_dim + shape_.value_dim, shape_.kv_rank});
    const auto key_up = up.narrow(1, 0, shape_.nope_dim),
               value_up = up.narrow(1, shape_.nope_dim, shape_.value_dim);
    const auto q_latent = at::bmm(q_nope.transpose(0, 1), key_up).transpose(0, 1);  // [rows, heads, kv_rank]
    const auto mixed = attention(at::cat({q_latent, q_rope}, 2), kept, kept.narrow(2, 0, shape_.kv_rank),
                                 pass.plan(std::nullopt), {.scale = scale_});
    return at::bmm(mixed.transpose(0, 1), value_up.transpose(1, 2)).transpose(0, 1);
  }

  const int64_t heads_;
  const double scale_;
  const LatentConfig shape_;
  const LayerConfig layer_;
  const RopeLayout rope_layout_;
  const int64_t index_;
  Linear q_down_, q_up_, kv_down_, kv_up_, output_;
  Norm q_norm_, kv_norm_;
};

}  // namespace

std::unique_ptr<AttentionLayer> make_latent_attention(Parameters& parameters, const ModelConfig& config,
                                                      int64_t index, const std::string& prefix) {
  return std::make_unique<LatentAttention>(parameters, config, index, prefix);
}

}  // namespace sluice::model
