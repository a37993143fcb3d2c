// One layer of a network: attention and feed-forward, each normed before and, in some families, after.
#pragma once

#include <memory>
#include <vector>

#include "model/block_weights.h"
#include "model/internal/attention_layer.h"
#include "model/internal/feed_forward.h"

namespace sluice::model {

class Block {
 public:
  Block(Parameters& parameters, const ModelConfig& config, int64_t index);
  void bind(Parameters& parameters);

  // The residual stream [rows, hidden] to the next one; in place where no backward wants the old one.
  at::Tensor forward(at::Tensor hidden, Pass& pass) const;
  // For a network that kernels_serve().
  void describe(cpu::TransformerLayer& layer, RawVectors& vectors) const;
  BlockNumbers numbers() const { return numbers_; }  // of all its parameters
  std::vector<CacheRow> cache() const { return attention_->cache(); }
  std::vector<Linear*> linears();  // those that can be adapted (model/lora.h)

 private:
  bool adapts_mlp_ = true;
  BlockNumbers numbers_;
  Norm attention_norm_, attention_post_norm_, mlp_norm_, mlp_post_norm_;
  std::unique_ptr<AttentionLayer> attention_;
  std::unique_ptr<FeedForward> mlp_;
};

}  // namespace sluice::model
