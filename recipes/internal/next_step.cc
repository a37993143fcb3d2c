#include "recipes/internal/next_step.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/trace.h"

namespace sluice::recipes::internal {
namespace {

bool is_of(const learner::StepPlan& plan, int64_t step, const std::vector<buffers::RolloutGroup>& groups) {
  return plan.batch.step == step &&
         std::ranges::equal(plan.batch.groups, groups, {}, &buffers::RolloutGroup::group,
                            &buffers::RolloutGroup::group);
}

}  // namespace

NextStep::NextStep(Foresee foresee, MakePlan plan) : foresee_(std::move(foresee)), plan_(std::move(plan)) {}

void NextStep::begin(int64_t step) {
  thread_ = {};
  planned_.reset();
  thread_ = std::jthread([this, step](const std::stop_token& stop) {
    try {
      auto groups = foresee_(step, stop);
      if (!groups) return;
      const Traced traced("plan ahead");
      planned_ = plan_(step, std::move(*groups));
    } catch (const std::exception&) {
      // What cannot be planned of these groups is said by take(), if they are learned from.
    }
  });
}

learner::StepPlan NextStep::take(int64_t step, std::vector<buffers::RolloutGroup> groups) {
  thread_ = {};  // stops, and waits for a plan that is under way
  auto planned = std::exchange(planned_, std::nullopt);
  return planned && is_of(*planned, step, groups) ? std::move(*planned) : plan_(step, std::move(groups));
}

}  // namespace sluice::recipes::internal
