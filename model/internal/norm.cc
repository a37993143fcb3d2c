#include "model/internal/norm.h"

#include <ATen/ATen.h>

#include "model/operators.h"

namespace sluice::model {

Norm::Norm(Parameters& parameters, const std::string& name, int64_t width, NormKind kind, double eps)
    : width_(width), kind_(kind), eps_(eps) {
  first_ = parameters.add({.name = name + ".weight",
                           .shape = {width},
                           .kind = ParameterKind::Norm,
                           .initial = kind == NormKind::RmsPlusOne ? 0.0 : 1.0});
  if (kind == NormKind::Layer) {
    parameters.add({.name = name + ".bias", .shape = {width}, .kind = ParameterKind::Vector});
  }
}

void Norm::bind(Parameters& parameters) {
  weight_ = parameters[first_];
  if (kind_ == NormKind::Layer) bias_ = parameters[first_ + 1];
}

const float* Norm::describe(RawVectors& vectors) const {
  return vectors.add(kind_ == NormKind::RmsPlusOne ? weight_.to(at::kFloat) + 1 : weight_);
}

at::Tensor Norm::operator()(const at::Tensor& x) const {
  if (kind_ == NormKind::Layer) return layer_norm(x, weight_, bias_, eps_);
  const auto rows = x.dim() == 2 ? x : x.reshape({-1, width_});
  const auto weight = kind_ == NormKind::RmsPlusOne ? weight_.to(x.scalar_type()) + 1 : weight_;
  return rms_norm(rows, weight, eps_).view(x.sizes());
}

}  // namespace sluice::model
