// AdamW (Loshchilov and Hutter 2019; spec section 17.1).
#pragma once

#include "optim/internal/update_rule.h"

namespace sluice::optim {

class AdamW final : public UpdateRule {
 public:
  // Of all parameters, or of the chosen ones, beside another rule that moves the others.
  AdamW(const model::Parameters& parameters, const OptimizerOptions& options);
  AdamW(const model::Parameters& parameters, const OptimizerOptions& options, const SlotFilter& is_chosen);

  void update(const at::Tensor& weights, const at::Tensor& grad, double lr, int64_t num_updates) override;
  std::vector<model::NamedTensor> state() const override;

 private:
  const OptimizerOptions options_;
  const std::vector<Stretch> own_, decayed_;
  at::Tensor first_moment_, second_moment_;  // [numbers of own_], one stretch after another
};

}  // namespace sluice::optim
