#include "recipes/internal/step_watch.h"

#include <cmath>

#include "base/error.h"

namespace sluice::recipes {

StepWatch::StepWatch(StageMonitor& monitor, const optim::Optimizer& optimizer, const StageSpec& stage,
                     const StageStart& start)
    : monitor_(monitor),
      optimizer_(optimizer),
      stage_(stage),
      guard_(stage.guard.max_kl),
      num_nonfinite_(optimizer.num_skipped()) {
  start.recall("guard", guard_);
}

learner::Verdict StepWatch::after(int64_t done, const learner::StepHealth& health,
                                  learner::StepMetrics& metrics) {
  const auto verdict = guard_.after(health);
  metrics["skipped_steps"] = static_cast<double>(guard_.num_skipped());
  std::erase_if(metrics, [](const auto& metric) { return !std::isfinite(metric.second); });
  if (!health.skipped.empty()) {
    monitor_.say(stage_.name + ": step " + std::to_string(done) + " was skipped as " + health.skipped);
  }
  return verdict;
}

void StepWatch::after(int64_t done, learner::StepMetrics& metrics) {
  learner::StepHealth health;
  if (optimizer_.num_skipped() > num_nonfinite_) {
    health.skipped =
        std::isfinite(metrics.at("loss")) ? "the gradient is not finite" : "the loss is not finite";
  }
  num_nonfinite_ = optimizer_.num_skipped();
  if (after(done, health, metrics) != learner::Verdict::GoOn) stop();
}

void StepWatch::stop(const std::string& more) const {
  fail<HealthError>(stage_.name, ": ", guard_.cause(), more,
                    "; the run is stopped, its newest checkpoint is whole. A lower optim.lr or "
                    "optim.max_grad_norm helps, or a longer optim.warmup_steps");
}

}  // namespace sluice::recipes
