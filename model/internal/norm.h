// The norms of a network, one kind each.
#pragma once

#include <string>

#include "model/internal/raw_network.h"
#include "model/model_config.h"
#include "model/parameters.h"

namespace sluice::model {

class Norm {
 public:
  Norm() = default;
  // Declares `name`.weight [width] and, for LayerNorm, its bias. Without a name it changes nothing.
  Norm(Parameters& parameters, const std::string& name, int64_t width, NormKind kind, double eps);

  void bind(Parameters& parameters);
  explicit operator bool() const { return width_ > 0; }
  const float* describe(RawVectors& vectors) const;  // what an RMS norm multiplies with, [width]
  // x [..., width], normed over the last size.
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  int64_t width_ = 0;
  NormKind kind_ = NormKind::Rms;
  double eps_ = 0.0;
  size_t first_ = 0;
  at::Tensor weight_, bias_;
};

}  // namespace sluice::model
