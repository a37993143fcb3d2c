// What the reference policy says of whole completions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>

#include "learner/preference_batch.h"
#include "reference/reference_policy.h"

namespace sluice::learner {

// [examples, completions] float64 on the CPU, without gradients: where a learner gets what example_logps() is
// under the reference, computed or looked up.
using ReferenceLogps = std::function<at::Tensor(std::span<const PreferenceExample> examples)>;

struct ReferenceLogpsOptions {
  int64_t micro_batch_tokens = 16384;
  double ld_alpha = 1.0;  // as the learner has it
};

// Computes them.
at::Tensor reference_logps(const reference::ReferencePolicy& reference,
                           std::span<const PreferenceExample> examples, const at::Device& device,
                           const ReferenceLogpsOptions& options = {});

}  // namespace sluice::learner
