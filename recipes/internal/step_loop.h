// The optimizer steps of a stage whose examples lie there: timed, watched, reported and saved.
#pragma once

#include <cstdint>
#include <functional>

#include "base/clock.h"
#include "learner/policy_learner.h"
#include "optim/optimizer.h"
#include "recipes/checkpoint.h"
#include "recipes/internal/retention.h"
#include "recipes/internal/run_control.h"
#include "recipes/internal/stage_context.h"
#include "recipes/internal/stage_monitor.h"
#include "recipes/internal/step_clock.h"
#include "recipes/internal/step_watch.h"

namespace sluice::recipes {

// What the stage does in it.
struct StepWork {
  // One update; `step` counts from 0 in the stage. Its num_tokens are those of the step. It ends "batch" when
  // it has its examples.
  std::function<learner::StepMetrics(int64_t step, internal::StepClock& clock)> learn;
  // What is reported after `done` steps besides; on rank 0, and where it is due. May be null, both of them.
  std::function<learner::StepMetrics(int64_t done)> measure;
  std::function<bool(int64_t done)> is_due = {};
  // Of a checkpoint, all but what is remembered.
  std::function<CheckpointContents()> contents;
};

class StepLoop {
 public:
  // All of them outlive it. Time and tokens of a resumed stage are counted on. Of several ranks, those of the
  // optimizer, each has a loop: they learn together, and rank 0 measures, reports, is stopped and saves.
  StepLoop(const RunDirectory& run, const StageSpec& stage, const StageStart& start, StageMonitor& monitor,
           optim::Optimizer& optimizer, const StopRequest& stop);

  // To the end of the stage: 0; or to a signal, which it returns when a checkpoint is written. Throws
  // HealthError where StepWatch does.
  int run(const StepWork& work);

  double seconds() const;  // spent in the stage
  // The newest of the stage, or the one it began with.
  const Checkpoint& checkpoint() const { return checkpoint_; }

 private:
  int obey(int64_t done, const StepWork& work);
  void pause(int64_t done);
  void save(int64_t done, CheckpointContents contents);

  const RunDirectory& run_;
  const StageSpec& stage_;
  const StageStart& start_;
  StageMonitor& monitor_;
  optim::Optimizer& optimizer_;
  transport::Collective& ranks_;
  const StopRequest& stop_;
  RunControl control_;
  StepWatch watch_;
  internal::Score score_;  // since the last checkpoint
  Checkpoint checkpoint_;
  const SteadyClock clock_;
  const Millis began_;
  internal::StepClock step_clock_{clock_};
  double num_tokens_;  // trained on in the stage
  int64_t saved_;      // steps done at the newest checkpoint
};

}  // namespace sluice::recipes
