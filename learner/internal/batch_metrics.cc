#include "learner/internal/batch_metrics.h"

#include <algorithm>
#include <vector>

#include "learner/internal/statistics.h"

namespace sluice::learner::internal {

StepMetrics batch_metrics(const TrainingBatch& batch, int64_t version) {
  std::vector<double> advantages, staleness;
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    for (size_t i = 0; i < batch.groups[g].completions.size(); ++i) {
      const auto& completion = batch.groups[g].completions[i];
      if (batch.leaves_out(completion)) continue;
      for (size_t t = 0; t < completion.tokens.size(); ++t) {
        if (completion.mask[t] == 0) continue;
        advantages.push_back(batch.advantages[g][i]);
        staleness.push_back(static_cast<double>(version - completion.versions[t]));
      }
    }
  }
  StepMetrics metrics;
  report_spread("advantages", advantages, metrics);
  if (staleness.empty()) return metrics;
  metrics["staleness/mean"] = mean_of(staleness);
  metrics["staleness/max"] = std::ranges::max(staleness);
  return metrics;
}

}  // namespace sluice::learner::internal
