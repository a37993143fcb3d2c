#include "model/network.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/internal/attention_plan.h"
#include "model/internal/raw_operators.h"

namespace sluice::model {

struct Network::Pass {
  std::shared_ptr<const AttentionPlan> plan;
  const CacheView* view = nullptr;
  at::Tensor slots;  // [rows] int64, where keys and values go; undefined without a view
  int64_t layer = 0;
};

namespace {

// The residual stream; in place where no backward wants the old one.
at::Tensor add(const at::Tensor& hidden, const at::Tensor& x, bool grad) {
  return grad ? hidden + x : hidden.add_(x);
}

void check_range(const at::Tensor& ids, int64_t end, const char* what) {
  require(ids.dim() == 1 && ids.scalar_type() == at::kLong, "network: ", what, "s are ", ids.sizes(),
          " of type ", ids.dtype().name());
  if (ids.numel() == 0) return;
  const auto on_host = ids.cpu().contiguous();
  const auto* first = on_host.const_data_ptr<int64_t>();
  const auto [low, high] = std::minmax_element(first, first + ids.numel());
  const int64_t min = *low, max = *high;
  require(min >= 0 && max < end, "network: a ", what, " must be in 0 .. ", end - 1, ", saw ",
          min < 0 ? min : max);
}

}  // namespace

void Network::check(const PackedBatch& batch) const {
  require(batch.tokens.numel() == batch.num_rows() && batch.positions.numel() == batch.num_rows(),
          "network: ", batch.tokens.numel(), " tokens and ", batch.positions.numel(), " positions for ",
          batch.num_rows(), " rows");
  check_range(batch.tokens, config_.vocab_size, "token");
  check_range(batch.positions, config_.max_position, "position");
}

at::Tensor Network::attend(const Layer& layer, const at::Tensor& x, const PackedBatch& batch,
                           Pass& pass) const {
  const int64_t rows = x.size(0), heads = config_.num_heads, kv_heads = config_.num_kv_heads;
  const AttentionOptions options{.scale = 1.0 / std::sqrt(static_cast<double>(config_.head_dim))};
  const auto qkv = model::linear(x, layer.qkv).view({rows, heads + 2 * kv_heads, config_.head_dim});
  auto [q, k, v] =
      model::split_heads(model::rope(qkv, cos_, sin_, batch.positions, heads + kv_heads), heads, kv_heads);
  if (pass.view != nullptr) {
    // All slots of the cache, [slots, kv_heads, head_dim]; the plan says which are this sequence's.
    const auto keys = pass.view->cache->rows(pass.layer, "k").view({-1, kv_heads, config_.head_dim});
    const auto values = pass.view->cache->rows(pass.layer, "v").view({-1, kv_heads, config_.head_dim});
    raw::put_rows(keys, pass.slots, k);
    raw::put_rows(values, pass.slots, v);
    k = keys;
    v = values;
  }
  return model::linear(model::attention(q, k, v, pass.plan, options).view({rows, heads * config_.head_dim}),
                       layer.output);
}

at::Tensor Network::forward(const PackedBatch& batch, const CacheView* view) const {
  check(batch);
  const bool grad = at::GradMode::is_enabled() && view == nullptr;
  const at::AutoGradMode mode(grad);
  // Without gradients nothing needs to pass autograd's dispatch, which costs as much as a small operator.
  std::optional<at::AutoDispatchBelowADInplaceOrView> below;
  if (!grad) below.emplace();

  Pass pass;
  pass.plan = make_attention_plan(batch, view);
  pass.view = view;
  if (view != nullptr) pass.slots = cache_slots(batch, *view).to(device_);
  auto hidden = model::embedding(parameters_.front().tensor, batch.tokens);
  for (const Layer& layer : layers_) {
    const auto attended =
        attend(layer, model::rms_norm(hidden, layer.input_norm, config_.rms_norm_eps), batch, pass);
    hidden = add(hidden, attended, grad);
    const auto normed = model::rms_norm(hidden, layer.mlp_norm, config_.rms_norm_eps);
    hidden =
        add(hidden, model::linear(gated(model::linear(normed, layer.gate_up), Activation::Silu), layer.down),
            grad);
    ++pass.layer;
  }
  const auto& last_norm = parameters_[parameters_.size() - (config_.tie_embeddings ? 1 : 2)].tensor;
  return model::rms_norm(hidden, last_norm, config_.rms_norm_eps);
}

TokenLogprobs Network::logprobs(const PackedBatch& batch, const TokenTargets& targets,
                                double temperature) const {
  check_range(targets.rows, batch.num_rows(), "target row");
  check_range(targets.tokens, config_.vocab_size, "target");
  return token_logprobs(model::embedding(forward(batch), targets.rows), head(), targets.tokens,
                        {.temperature = temperature});
}

const at::Tensor& Network::head() const {
  return config_.tie_embeddings ? parameters_.front().tensor : parameters_.back().tensor;
}

CacheLayout Network::cache_layout() const {
  const int64_t width = config_.num_kv_heads * config_.head_dim;
  return {{"k", width}, {"v", width}};
}

}  // namespace sluice::model
