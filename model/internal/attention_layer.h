// Attention with its projections: grouped heads, or heads made from one latent vector a token.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/internal/linear.h"
#include "model/internal/norm.h"
#include "model/internal/pass.h"
#include "model/internal/raw_network.h"
#include "model/kv_cache.h"
#include "model/model_config.h"

namespace sluice::model {

class AttentionLayer {
 public:
  virtual ~AttentionLayer() = default;
  virtual void bind(Parameters& parameters) = 0;
  // x [rows, hidden], normed -> [rows, hidden]
  virtual at::Tensor forward(const at::Tensor& x, Pass& pass) const = 0;
  virtual std::vector<CacheRow> cache() const = 0;
  // Grouped heads alone have one.
  virtual void describe(cpu::TransformerLayer&, RawVectors&) const {}
  virtual std::vector<Linear*> linears() = 0;
};

// Declares the parameters of layer `index`, whose names start with `prefix`.
std::unique_ptr<AttentionLayer> make_attention(Parameters& parameters, const ModelConfig& config,
                                               int64_t index, const std::string& prefix);
// The one for config.latent (model/internal/latent_attention.cc).
std::unique_ptr<AttentionLayer> make_latent_attention(Parameters& parameters, const ModelConfig& config,
                                                      int64_t index, const std::string& prefix);

}  // namespace sluice::model
