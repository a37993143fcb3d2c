#include "learner/refills.h"

#include <algorithm>

namespace sluice::learner {

StepMetrics refill_metrics(const TrainingBatch& batch, const buffers::RefillCounts& counts) {
  const auto kept =
      std::ranges::count_if(batch.rewards, [](const auto& group) { return !has_spread(group); });
  return {{"refills", static_cast<double>(counts.refills)},
          {"refills/dropped", static_cast<double>(counts.refills + counts.given_up)},
          {"refills/fallback", static_cast<double>(counts.given_up + kept)}};
}

}  // namespace sluice::learner
