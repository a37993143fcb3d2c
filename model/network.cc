#include "model/network.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "model/experts.h"
#include "model/families/family.h"
#include "model/internal/checkpointed.h"
#include "model/internal/network_layers.h"

namespace sluice::model {
namespace {

constexpr const char* kNoLogits =
    "network: its head is a scalar one: it has scores, and no logits to sample from";

// Lowest and highest of `ids`; both 0 when there are none.
std::pair<int64_t, int64_t> range_of(const at::Tensor& ids, const char* what) {
  require(ids.dim() == 1 && ids.scalar_type() == at::kLong, "network: ", what, "s are ", ids.sizes(),
          " of type ", ids.dtype().name());
  if (ids.numel() == 0) return {0, 0};
  const auto on_host = ids.cpu().contiguous();
  const auto* first = on_host.const_data_ptr<int64_t>();
  const auto [low, high] = std::minmax_element(first, first + ids.numel());
  return {*low, *high};
}

int64_t check_range(const at::Tensor& ids, int64_t end, const char* what) {
  const auto [min, max] = range_of(ids, what);
  require(min >= 0 && max < end, "network: a ", what, " must be in 0 .. ", end - 1, ", saw ",
          min < 0 ? min : max);
  return max;
}

void check_targets(const TokenTargets& targets, int64_t rows, int64_t vocab) {
  require(targets.rows.sizes() == targets.tokens.sizes(), "network: target rows ", targets.rows.sizes(),
          " for target tokens ", targets.tokens.sizes());
  check_range(targets.rows, rows, "target row");
  check_range(targets.tokens, vocab, "target");
}

at::Tensor mean_balance(const std::vector<Pass::Routed>& routed) {
  if (routed.empty()) return {};
  at::Tensor sum;
  for (const auto& [logits, experts] : routed) {
    const auto loss = balance_loss(logits, experts);
    sum = sum.defined() ? sum + loss : loss;
  }
  return sum / static_cast<double>(routed.size());
}

}  // namespace

int64_t Network::check(const PackedBatch& batch) const {
  require(batch.tokens.numel() == batch.num_rows() && batch.positions.numel() == batch.num_rows(),
          "network: ", batch.tokens.numel(), " tokens and ", batch.positions.numel(), " positions for ",
          batch.num_rows(), " rows");
  require(batch.final_lengths.empty() || batch.final_lengths.size() == batch.prefix.size(),
          "network: ", batch.final_lengths.size(), " final lengths for ", batch.prefix.size(), " sequences");
  check_range(batch.tokens, config_.vocab_size, "token");
  return check_range(batch.positions, config_.max_position, "position");
}

int64_t Network::check(const PackedBatch& batch, const TokenTargets& targets) const {
  require(!config_.scalar_head, kNoLogits);
  check_targets(targets, batch.num_rows(), config_.vocab_size);
  return check(batch);
}

at::Tensor Network::embed(const PackedBatch& batch, const at::Tensor& noise) const {
  auto hidden = model::embedding(layers_->embedding(weights_), batch.tokens);
  if (noise.defined()) {
    require(noise.sizes() == hidden.sizes(), "network: embedding noise is ", noise.sizes(),
            ", the embeddings are ", hidden.sizes());
    hidden = hidden + noise.to(hidden.scalar_type());
  }
  if (config_.embedding_scale != 1.0) hidden = hidden * config_.embedding_scale;
  if (config_.learned_positions) {
    hidden = hidden + model::embedding(layers_->positions(weights_), batch.positions);
  }
  return hidden;
}

at::Tensor Network::run(const PackedBatch& batch, const CacheView* view, at::Tensor* balance,
                        const at::Tensor& noise) const {
  const int64_t max_position = check(batch);
  const bool grad = at::GradMode::is_enabled() && view == nullptr;
  const at::AutoGradMode mode(grad);
  // Without gradients nothing needs to pass autograd's dispatch, which costs as much as a small operator.
  std::optional<at::AutoDispatchBelowADInplaceOrView> below;
  if (!grad) below.emplace();

  const auto pass = std::make_shared<Pass>(batch, view, layers_->ropes, max_position, /*trains=*/grad);
  auto hidden = embed(batch, noise);
  for (size_t i = 0; i < layers_->blocks.size(); ++i) {
    const BlockPlace place{layers_->blocks[i], static_cast<int64_t>(i), block_weights_};
    hidden = grad && (checkpoints_ || block_weights_ != nullptr)
                 ? checkpointed(place, hidden, pass)
                 : place.compute([&] { return place.block.forward(std::move(hidden), *pass); });
  }
  const auto routed = std::exchange(pass->routed, {});
  const bool softmax = config_.experts && config_.experts->router.score == RouterScore::Softmax;
  if (balance != nullptr && softmax) *balance = mean_balance(routed);
  return layers_->last_norm(hidden);
}

at::Tensor Network::forward(const PackedBatch& batch, const CacheView* view) const {
  return run(batch, view);
}

BatchLogprobs Network::logprobs(const PackedBatch& batch, const TokenTargets& targets, double temperature,
                                const at::Tensor& embedding_noise) const {
  check_targets(targets, batch.num_rows(), config_.vocab_size);
  BatchLogprobs result;
  const auto head = this->head();  // or there is none, which is said before anything is computed
  const auto hidden =
      model::embedding(run(batch, /*view=*/nullptr, &result.balance_loss, embedding_noise), targets.rows);
  auto of_tokens = token_logprobs(hidden, head, targets.tokens,
                                  {.temperature = temperature, .soft_cap = config_.logit_soft_cap});
  result.logprobs = std::move(of_tokens.logprobs);
  result.entropy = std::move(of_tokens.entropy);
  result.is_top = std::move(of_tokens.is_top);
  result.hidden = hidden.detach();
  return result;
}

at::Tensor Network::scaled_logits(const at::Tensor& hidden, double temperature) const {
  return model::scaled_logits(hidden, head(),
                              {.temperature = temperature, .soft_cap = config_.logit_soft_cap});
}

at::Tensor Network::mean_logits(const at::Tensor& hidden) const {
  return model::mean_logits(hidden, head(), {.soft_cap = config_.logit_soft_cap});
}

at::Tensor Network::scores(const PackedBatch& batch, const at::Tensor& rows) const {
  require(config_.scalar_head, "network: scores are of a network with a scalar head, this one has logits");
  check_range(rows, batch.num_rows(), "scored row");
  const auto hidden = model::embedding(run(batch, nullptr, nullptr), rows);
  return model::linear(hidden, parameters().back().tensor).squeeze(1);
}

Weight Network::head() const {
  require(!config_.scalar_head, kNoLogits);
  Weight head = head_;
  head.rows = config_.tie_embeddings ? layers_->embedding(weights_) : parameters().back().tensor;
  return head;
}

BlockNumbers Network::block_numbers(int64_t block) const {
  return layers_->blocks.at(static_cast<size_t>(block)).numbers();
}

CacheLayout Network::cache_layout() const {
  CacheLayout layout;
  for (const Block& block : layers_->blocks) layout.push_back(block.cache());
  return layout;
}

}  // namespace sluice::model
