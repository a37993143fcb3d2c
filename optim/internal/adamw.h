// AdamW (Loshchilov and Hutter 2019; spec section 17.1).
#pragma once

#include <vector>

#include "optim/internal/flat_loops.h"
#include "optim/internal/update_rule.h"

namespace sluice::optim {

// The same of some stretches by LibTorch's one kernel, for devices that have no loops of ours; gradients are
// left as they come out of it.
struct FusedStretches {
  std::vector<at::Tensor> weights, grads, first_moments, second_moments;
};
void fused_adamw(const FusedStretches& stretches, double weight_decay, const UpdateFactors& of,
                 const OptimizerOptions& options);

class AdamW final : public UpdateRule {
 public:
  // Of all parameters, or of the chosen ones, beside another rule that moves the others.
  AdamW(const model::Parameters& parameters, const OptimizerOptions& options);
  AdamW(const model::Parameters& parameters, const OptimizerOptions& options, const SlotFilter& is_chosen);

  void update(const at::Tensor& weights, const at::Tensor& grad, const UpdateFactors& of) override;
  std::vector<model::NamedTensor> state() const override;

 private:
  // With one weight decay.
  struct Part {
    Stretch numbers;  // of the weights and the gradient
    bool decays;
    Stretch moments;
  };

  template <class Real>
  void move(const at::Tensor& weights, const at::Tensor& grad, const AdamWFactors& factors);
  void move_elsewhere(const at::Tensor& weights, const at::Tensor& grad, const UpdateFactors& of);

  const OptimizerOptions options_;
  std::vector<Part> parts_;
  at::Tensor first_moment_, second_moment_;  // one part after another
};

}  // namespace sluice::optim
