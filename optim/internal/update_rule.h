// How one update moves the weights: what AdamW, Muon and SGD have in common.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "model/named_tensor.h"
#include "model/parameters.h"
#include "optim/optimizer.h"

namespace sluice::optim {

struct UpdateFactors {
  double lr = 0.0;
  int64_t num_updates = 1;  // this one too
  double grad_scale = 1.0;  // of clipping, on every number of the gradient
};

// Owns what it remembers of earlier gradients, and nothing else.
class UpdateRule {
 public:
  virtual ~UpdateRule() = default;
  // Moves `weights` by `grad`, both [num_parameters], and leaves zeros in the latter. Without autograd.
  virtual void update(const at::Tensor& weights, const at::Tensor& grad, const UpdateFactors& factors) = 0;
  // The very tensors it remembers in, so that who loads a checkpoint writes to them.
  virtual std::vector<model::NamedTensor> state() const = 0;
};

// The rule that options.kind names, for such parameters, which are bound. Throws Error for an unknown name.
std::unique_ptr<UpdateRule> make_update_rule(const model::Parameters& parameters,
                                             const OptimizerOptions& options);

// Numbers that lie side by side in the flat buffers.
struct Stretch {
  int64_t first = 0, count = 0;

  at::Tensor of(const at::Tensor& flat) const { return flat.narrow(0, first, count); }
};

using SlotFilter = std::function<bool(const model::ParameterSlot&)>;

// Those of the chosen parameters, as few stretches as there can be.
std::vector<Stretch> stretches(const model::Parameters& parameters, const SlotFilter& is_chosen);

// Whether weight decay is for this parameter, and of the chosen ones those that it is for.
bool decays(const model::ParameterSlot& slot, const OptimizerOptions& options);
std::vector<Stretch> decayed_stretches(const model::Parameters& parameters, const SlotFilter& is_chosen,
                                       const OptimizerOptions& options);

// Decoupled weight decay, which acts on the weights themselves and comes before the update.
void decay(const at::Tensor& weights, const std::vector<Stretch>& stretches, double rate);

// Adds `grad` to momentum times `buffer`, in place, and returns the direction to go: the buffer, or what it
// will be if the next gradient is the same (Nesterov 1983).
at::Tensor add_momentum(const at::Tensor& buffer, const at::Tensor& grad, const OptimizerOptions& options);

}  // namespace sluice::optim
