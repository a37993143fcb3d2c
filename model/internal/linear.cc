#include "model/internal/linear.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

namespace sluice::model {

Linear::Linear(Parameters& parameters, const std::vector<LinearPart>& parts, const LinearOptions& options)
    : parts_(parts), in_(options.in), first_(parameters.slots().size()) {
  for (const auto& [name, out] : parts) {
    parameters.add({.name = name + ".weight",
                    .shape = {out, in_},
                    .transposed = options.transposed,
                    .is_router = options.router});
  }
  if (!options.bias) return;
  first_bias_ = parameters.slots().size();
  for (const auto& [name, out] : parts) {
    parameters.add({.name = name + ".bias", .shape = {out}, .kind = ParameterKind::Vector});
  }
}

void Linear::bind(Parameters& parameters) {
  weight_ = {.all = parameters.weight(first_, parts_.size()), .parts = {}};
  biases_.clear();
  for (size_t i = 0; i < parts_.size(); ++i) {
    weight_.parts.push_back(parameters[first_ + i]);
    if (first_bias_) biases_.push_back(parameters[*first_bias_ + i]);
  }
}

void Linear::adapt(std::vector<Adapter> adapters, double scale) {
  adapters_ = std::move(adapters);
  scale_ = scale;
  uses_adapters_ = true;
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  auto y = model::linear(x, weight_);
  if (!biases_.empty()) {
    const auto bias = (biases_.size() == 1 ? biases_.front() : at::cat(biases_)).to(y.scalar_type());
    y = at::GradMode::is_enabled() ? y + bias : y.add_(bias);
  }
  return is_adapted() ? y + delta(x) : y;
}

cpu::Product Linear::describe(RawVectors& vectors) const {
  auto product = describe_product(weight_.all);
  if (!biases_.empty()) product.bias = vectors.add(at::cat(biases_));
  return product;
}

at::Tensor Linear::delta(const at::Tensor& x) const {
  std::vector<at::Tensor> pieces;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const auto& [a, b] = adapters_[i];
    pieces.push_back(a.defined() ? model::linear(model::linear(x, a), b) * scale_
                                 : at::zeros({x.size(0), parts_[i].out}, x.options()));
  }
  return pieces.size() == 1 ? pieces.front() : at::cat(pieces, 1);
}

at::Tensor Linear::merged() const {
  const auto wide = [](const at::Tensor& weight) {
    return weight.scalar_type() == at::kBFloat16 ? weight.to(at::kFloat) : weight;
  };
  std::vector<at::Tensor> merged;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const auto& part = weight_.parts[i];
    const bool adapted = is_adapted() && adapters_[i].a.defined();
    merged.push_back(adapted ? wide(part) + at::mm(adapters_[i].b, adapters_[i].a) * scale_ : wide(part));
  }
  return merged.size() == 1 ? merged.front() : at::cat(merged);
}

}  // namespace sluice::model
