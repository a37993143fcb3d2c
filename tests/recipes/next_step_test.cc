#include "recipes/internal/next_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <latch>
#include <mutex>

#include "base/error.h"

namespace sluice::recipes::internal {
namespace {

using testing::ElementsAre;

using Groups = std::vector<buffers::RolloutGroup>;

Groups groups_of(const std::vector<uint64_t>& ids) {
  Groups groups;
  for (const uint64_t id : ids) groups.push_back({.group = id});
  return groups;
}

std::vector<uint64_t> ids_of(const learner::StepPlan& plan) {
  std::vector<uint64_t> ids;
  for (const auto& group : plan.batch.groups) ids.push_back(group.group);
  return ids;
}

learner::StepPlan plan_of(int64_t step, Groups groups) {
  return {.batch = {.step = step, .groups = std::move(groups)}, .updates = {}};
}

NextStep::Foresee foresees(const std::vector<uint64_t>& ids) {
  return [ids](int64_t /*step*/, const std::stop_token& /*stop*/) { return groups_of(ids); };
}

TEST(NextStep, IsPlannedBeforeItIsAskedFor) {
  std::atomic<int> plans = 0;
  std::latch planned(1);
  NextStep next(foresees({4, 5}), [&](int64_t step, Groups groups) {
    if (++plans == 1) planned.count_down();
    return plan_of(step, std::move(groups));
  });
  next.begin(2);
  planned.wait();

  const auto plan = next.take(2, groups_of({4, 5}));

  EXPECT_EQ(plan.batch.step, 2);
  EXPECT_THAT(ids_of(plan), ElementsAre(4, 5));
  EXPECT_EQ(plans, 1);
  EXPECT_THAT(ids_of(next.take(2, groups_of({4, 5}))), ElementsAre(4, 5));  // it is given once
}

TEST(NextStep, IsOfTheGroupsThatItTakesWhateverWasForeseen) {
  std::atomic<int> plans = 0;
  std::latch planned(1);
  NextStep next(foresees({4, 5}), [&](int64_t step, Groups groups) {
    if (++plans == 1) planned.count_down();
    return plan_of(step, std::move(groups));
  });
  next.begin(2);
  planned.wait();
  EXPECT_THAT(ids_of(next.take(2, groups_of({4, 6}))), ElementsAre(4, 6));
  EXPECT_EQ(plans, 2);

  next.begin(3);
  next.begin(3);  // the one before is given up
  EXPECT_EQ(next.take(7, groups_of({4, 5})).batch.step, 7);
}

TEST(NextStep, DoesNotWaitForGroupsThatAreNotThere) {
  std::mutex mutex;
  std::condition_variable_any never;
  const auto waits = [&](int64_t /*step*/, const std::stop_token& stop) -> std::optional<Groups> {
    std::unique_lock lock(mutex);
    never.wait(lock, stop, [] { return false; });
    return std::nullopt;
  };
  NextStep next(waits, plan_of);
  next.begin(2);
  EXPECT_THAT(ids_of(next.take(2, groups_of({1}))), ElementsAre(1));
  next.begin(3);  // and ends with its owner
}

TEST(NextStep, SaysWhatIsWrongWithItsGroupsWhenItTakesThem) {
  NextStep next(foresees({4}), [](int64_t /*step*/, const Groups& groups) -> learner::StepPlan {
    fail<DataError>("group ", groups.front().group, " has an empty prompt");
  });
  next.begin(2);
  EXPECT_THROW(next.take(2, groups_of({4})), DataError);
}

}  // namespace
}  // namespace sluice::recipes::internal
