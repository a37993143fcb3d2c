// Watches the numbers of a stage's steps: counts those that were skipped, says why, and knows when to end.
#pragma once

#include <cstdint>

#include "learner/guards.h"
#include "learner/policy_learner.h"
#include "optim/optimizer.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/stage_monitor.h"

namespace sluice::recipes {

class StepWatch {
 public:
  // All of them outlive it. Goes on with the counters of the checkpoint that a resumed stage starts from.
  StepWatch(StageMonitor& monitor, const optim::Optimizer& optimizer, const StageSpec& stage,
            const StageStart& start);

  // Of step `done` of the stage. Adds skipped_steps to its metrics and leaves out of them what is not finite.
  learner::Verdict after(int64_t done, const learner::StepHealth& health, learner::StepMetrics& metrics);
  // Where nobody but the optimizer knows of a skip, and a stage that begins again would only do the same
  // again: throws HealthError in place of a verdict.
  void after(int64_t done, learner::StepMetrics& metrics);

  // Ends the run: a HealthError with the cause of the last verdict and what to do about it.
  [[noreturn]] void stop(const std::string& more = "") const;
  const std::string& cause() const { return guard_.cause(); }
  void forgive() { guard_.forgive(); }

  Json state() const { return guard_.state(); }

 private:
  StageMonitor& monitor_;
  const optim::Optimizer& optimizer_;
  const StageSpec& stage_;
  learner::HealthGuard guard_;
  int64_t num_nonfinite_;  // updates that the optimizer had skipped by the last step
};

}  // namespace sluice::recipes
