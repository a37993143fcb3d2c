// When to leave the rest of a step's updates: PPO's early stop.
#pragma once

#include <cstdint>

#include "transport/collective.h"

namespace sluice::learner {

// Whether the policy is more than 1.5 `target` from the one that its ratios are taken against, as a mean over
// the tokens of all ranks: `kl` is the sum over the `tokens` of this one. All ranks get the same answer.
bool moved_too_far(double kl, int64_t tokens, double target, transport::Collective& ranks);

}  // namespace sluice::learner
