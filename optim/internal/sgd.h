// Gradient descent with momentum, written as PyTorch writes it: the learning rate is outside the buffer.
#pragma once

#include "optim/internal/update_rule.h"

namespace sluice::optim {

class Sgd final : public UpdateRule {
 public:
  Sgd(const model::Parameters& parameters, const OptimizerOptions& options);

  void update(const at::Tensor& weights, const at::Tensor& grad, const UpdateFactors& factors) override;
  std::vector<model::NamedTensor> state() const override;

 private:
  const OptimizerOptions options_;
  const std::vector<Stretch> decayed_;
  at::Tensor momentum_;  // [num_parameters], undefined where options_.momentum is 0
};

}  // namespace sluice::optim
