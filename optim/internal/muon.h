// Muon (Jordan 2024; spec section 17.2): each hidden matrix moves by its momentum with the singular values
// brought near 1, so that no direction is left behind for having a small gradient.
#pragma once

#include "optim/internal/adamw.h"
#include "optim/internal/update_rule.h"

namespace sluice::optim {

// `matrix` [rows, columns] over its norm, with each singular value s replaced by 3.4445 s - 4.7750 s^3 +
// 2.0315 s^5, `steps` times (Newton and Schulz): after 5, most lie between 0.7 and 1.2. On CUDA in bfloat16.
at::Tensor orthogonalized(const at::Tensor& matrix, int64_t steps);

// Embeddings, heads, routers, norms and biases are AdamW's.
class Muon final : public UpdateRule {
 public:
  Muon(const model::Parameters& parameters, const OptimizerOptions& options);

  void update(const at::Tensor& weights, const at::Tensor& grad, const UpdateFactors& factors) override;
  std::vector<model::NamedTensor> state() const override;

 private:
  struct Matrix {
    model::ParameterSlot slot;
    at::Tensor momentum;  // [rows, columns], a view of momentum_
    double lr_factor = 1.0;

    at::Tensor of(const at::Tensor& flat) const {
      return flat.narrow(0, slot.offset, slot.count).view(slot.shape);
    }
  };

  const OptimizerOptions options_;
  const std::vector<Stretch> decayed_;
  at::Tensor momentum_;  // [numbers of the hidden matrices], one after another
  std::vector<Matrix> matrices_;
  AdamW rest_;
};

}  // namespace sluice::optim
