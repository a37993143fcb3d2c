// The second part of a block: two products with an activation between, or experts of which a router chooses.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/internal/linear.h"
#include "model/internal/pass.h"
#include "model/internal/raw_network.h"
#include "model/model_config.h"

namespace sluice::model {

class FeedForward {
 public:
  virtual ~FeedForward() = default;
  virtual void bind(Parameters& parameters) = 0;
  // x [rows, hidden], normed -> [rows, hidden]
  virtual at::Tensor forward(const at::Tensor& x, Pass& pass) const = 0;
  // Two products with a gated activation between alone have one.
  virtual void describe(cpu::TransformerLayer&, RawVectors&) const {}
  // What an adapter may stand beside; experts are not among it.
  virtual std::vector<Linear*> linears() = 0;
};

// Declares the parameters of layer `index`, whose names start with `prefix`.
std::unique_ptr<FeedForward> make_feed_forward(Parameters& parameters, const ModelConfig& config,
                                               int64_t index, const std::string& prefix);

}  // namespace sluice::model
