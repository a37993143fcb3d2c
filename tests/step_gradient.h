// The gradient of a step that is over: the optimizer leaves zeros where it was.
#pragma once

#include <ATen/ATen.h>

#include "base/error.h"
#include "optim/optimizer.h"

namespace sluice {

// Of all that is trained, end to end, as it was clipped: AdamW with its default beta1 remembers a tenth of
// the first step's, which must not have been skipped. Of more steps it is a mean that forgets.
inline at::Tensor step_gradient(const optim::Optimizer& optimizer) {
  require(optimizer.num_skipped() == 0 && optimizer.num_spikes() == 0, "step_gradient: of a skipped step");
  for (const auto& [name, tensor] : optimizer.state()) {
    if (name == "optimizer.first_moment") return tensor / (1.0 - optim::OptimizerOptions{}.beta1);
  }
  fail("step_gradient: there is no first moment");
}

}  // namespace sluice
