// The next step of a policy stage, planned while the one before it is learned from.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "buffers/rollout_group.h"
#include "learner/step_plan.h"

namespace sluice::recipes::internal {

// Which groups a step learns from is decided when it begins. Those that it will most likely be are planned
// before, in a thread: a plan of exactly these groups saves the step the time, any other one is thrown away.
class NextStep {
 public:
  // The groups that the step most likely learns from; waits for them, and gives up when it is to stop.
  using Foresee =
      std::function<std::optional<std::vector<buffers::RolloutGroup>>(int64_t step, std::stop_token stop)>;
  using MakePlan = std::function<learner::StepPlan(int64_t step, std::vector<buffers::RolloutGroup> groups)>;

  // Both are called from the thread, `plan` from that of take() too.
  NextStep(Foresee foresee, MakePlan plan);

  void begin(int64_t step);
  // The plan of the step that was begun last, or of any other. Throws what `plan` throws.
  learner::StepPlan take(int64_t step, std::vector<buffers::RolloutGroup> groups);

 private:
  const Foresee foresee_;
  const MakePlan plan_;
  std::optional<learner::StepPlan> planned_;  // the thread's as long as it runs
  std::jthread thread_;                       // last: uses what stands above
};

}  // namespace sluice::recipes::internal
