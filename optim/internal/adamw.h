// AdamW (Loshchilov and Hutter 2019; spec section 17.1).
#pragma once

#include "optim/internal/flat_loops.h"
#include "optim/internal/update_rule.h"

namespace sluice::optim {

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
  // Where there are no loops of ours.
  void move_elsewhere(const at::Tensor& weights, const at::Tensor& grad, const AdamWFactors& factors);

  const OptimizerOptions options_;
  std::vector<Part> parts_;
  at::Tensor first_moment_, second_moment_;  // one part after another
};

}  // namespace sluice::optim
